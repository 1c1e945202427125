public import CProcessorTicks
public import Synchronization

/// A fast monotonic clock: the processor's tick counter, resynchronized with `ContinuousClock` every millisecond.
///
/// Reading `ContinuousClock` costs about as much as the rest of a decision from memory; reading the counter takes one
/// instruction. A reading more than one millisecond after the last synchronization reads `ContinuousClock` and
/// synchronizes again.
///
/// **Error bound.** This clock is never ahead of `ContinuousClock`, and at most ``largestLagNanoseconds`` behind it:
/// - The clock runs slow on purpose: it reduces the measured rate by 1/256.
/// - The measured rate is too low by at most 1/1000, and never too high.
/// - The system adjusts the rate of its own clock within a range of 1/1000.
/// - So the clock loses at most 6 µs per millisecond. The time between the two counter readings of a synchronization
///   adds at most 15 µs.
///
/// If the system corrects its clock faster than that, the next synchronization, after a millisecond, finds the counter
/// ahead. The clock then stops using the counter, and its time does not advance until `ContinuousClock` catches up.
///
/// **Monotonic for every thread.** A reading is the counter times a constant, plus an offset that only grows. Each
/// synchronization raises the offset to match `ContinuousClock`, because this clock has been slow.
///
/// **Requirements.** All processors must share one counter. On x86-64, the clock relies on the counter only if the
/// kernel uses it for its own clock; on ARM, the counter is always shared. Otherwise, each reading is a reading of
/// `ContinuousClock`. The counter may stop or restart while the machine sleeps. The next reading then synchronizes
/// again, unless the counter is within one millisecond after the last synchronization, which is harmless.
public final class TickClock: TimeSource {
    /// The maximum lag of a reading behind `ContinuousClock`, in nanoseconds.
    public static let largestLagNanoseconds: Int64 = 25_000
    /// How long the counter is used after a synchronization, in nanoseconds.
    private static let validNanoseconds = 1_000_000.0
    /// The maximum time between the counter readings before and after a reading of `ContinuousClock`, in nanoseconds.
    private static let maximumReadNanoseconds = 15_000.0

    // Some of these properties are `@usableFromInline` so that `now()` can be inlined into other modules.
    /// The nanoseconds per tick, reduced by 1/256, in units of 2^-32; 0 if the counter is not used.
    @usableFromInline let rate: UInt64
    private let maximumReadTicks: UInt64
    /// How many ticks a synchronization is valid for; 0 if the counter was never used or has been abandoned.
    @usableFromInline let validTicks: Atomic<UInt64>
    /// The counter's value at the last synchronization.
    @usableFromInline let synchronizedAtTicks: Atomic<UInt64>
    /// The offset to add to ticks times ``rate`` to get the time, in nanoseconds.
    ///
    /// Writers raise it before ``synchronizedAtTicks`` and readers load it after, so it is never older than
    /// ``synchronizedAtTicks``.
    @usableFromInline let offsetNanoseconds: Atomic<Int64>
    /// The latest time that a reading of the counter can have shown; set when the counter is no longer used.
    private let lastShown = Atomic<Int64>(.min)
    /// The last property, because its size is unknown at compile time, which makes later offsets dynamic.
    private let clock = ClockTimeSource(ContinuousClock())

    /// Creates a clock that starts now.
    ///
    /// The first call in a process blocks while it measures the rate of the counter: 20 ms, or up to 140 ms if the
    /// measurement has to be repeated.
    public convenience init() {
        self.init(nanosecondsPerTick: Self.nanosecondsPerTick)
    }

    /// Creates a clock with a measured tick duration; 0 means that the clock must not use the counter.
    init(nanosecondsPerTick: Double) {
        rate = UInt64(nanosecondsPerTick * (1 - 1.0 / 256) * 4_294_967_296)
        let usesCounter = nanosecondsPerTick > 0
        maximumReadTicks = usesCounter ? UInt64(Self.maximumReadNanoseconds / nanosecondsPerTick) : 0
        synchronizedAtTicks = Atomic(0)
        offsetNanoseconds = Atomic(.min)
        validTicks = Atomic(usesCounter ? UInt64(Self.validNanoseconds / nanosecondsPerTick) : 0)
        _ = synchronize()
    }

    /// The time since this clock was created.
    @inlinable
    public func now() -> Instant {
        let setAt = synchronizedAtTicks.load(ordering: .acquiring)
        let offset = offsetNanoseconds.load(ordering: .relaxed)
        let ticks = processor_ticks()
        guard ticks &- setAt < validTicks.load(ordering: .relaxed) else { return synchronize() }
        return Instant(nanoseconds: nanoseconds(ticks) &+ offset)
    }

    /// Reads `ContinuousClock` and synchronizes with it.
    @inline(never)
    @usableFromInline
    func synchronize() -> Instant {
        guard rate > 0, validTicks.load(ordering: .acquiring) > 0 else {
            return max(clock.now(), Instant(nanoseconds: lastShown.load(ordering: .relaxed)))
        }
        // A thread that is preempted between the counter readings cannot tell when it read the clock, so it retries.
        for _ in 0..<64 {
            let before = processor_ticks()
            let now = clock.now()
            let after = processor_ticks()
            guard after &- before <= maximumReadTicks else { continue }
            // `now` was read after `before`, so this clock's time at `before` must not be ahead of `now`.
            let old = offsetNanoseconds.load(ordering: .relaxed)
            guard old == .min || nanoseconds(before) &+ old <= now.nanoseconds else { break }
            // `now` was read before `after`, so the new offset puts this clock behind, never ahead.
            let offset = now.nanoseconds &- nanoseconds(after)
            let raised = offsetNanoseconds.max(offset, ordering: .relaxed).newValue
            synchronizedAtTicks.store(after, ordering: .releasing)
            return Instant(nanoseconds: nanoseconds(after) &+ raised)
        }
        // The clock took too long to read in every attempt, or the counter was ahead of it.
        return abandonCounter()
    }

    private func abandonCounter() -> Instant {
        validTicks.store(0, ordering: .sequentiallyConsistent)
        // Threads that still use the counter have read it before this point.
        let offset = offsetNanoseconds.load(ordering: .relaxed)
        guard offset != .min else { return clock.now() }
        let shown = nanoseconds(processor_ticks()) &+ offset
        let last = lastShown.max(shown, ordering: .relaxed).newValue
        return max(clock.now(), Instant(nanoseconds: last))
    }

    @inlinable
    func nanoseconds(_ ticks: UInt64) -> Int64 {
        let product = ticks.multipliedFullWidth(by: rate)
        return Int64(truncatingIfNeeded: product.high << 32 | product.low >> 32)
    }

    // MARK: The counter's rate

    /// The measured duration of a tick: too low by at most 1/1000, never too high.
    ///
    /// 0 if the counter cannot be used.
    static let nanosecondsPerTick: Double = {
        guard isCounterSteady() else { return 0 }
        let clock = ClockTimeSource(ContinuousClock())
        for milliseconds in [20, 40, 80] {
            // The counter readings enclose the clock readings, so preemption in between makes a tick appear shorter.
            let first = (before: processor_ticks(), now: clock.now(), after: processor_ticks())
            // A rate needs elapsed time, so this sleep waits for no event; the clock measures its actual length.
            HostSystem.sleep(milliseconds: milliseconds)
            let last = (before: processor_ticks(), now: clock.now(), after: processor_ticks())
            guard last.before > first.after else { return 0 }
            let ticks = last.after - first.before
            let uncertain = first.after - first.before + last.after - last.before
            guard uncertain <= ticks / 1000 else { continue }
            return Double(last.now.nanoseconds - first.now.nanoseconds) / Double(ticks)
        }
        return 0
    }()

    /// Whether the counter has a constant rate, is the same on every processor, and never stops.
    ///
    /// The processor's flags are not enough: if the kernel finds the counter unreliable, it uses another clock source.
    private static func isCounterSteady() -> Bool {
        #if arch(arm64)
            return true
        #elseif arch(x86_64) && os(Linux)
            let text = HostSystem.text(of: "/proc/cpuinfo")
            let flags = text.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
            let used = HostSystem.text(of: "/sys/devices/system/clocksource/clocksource0/current_clocksource")
            // The clock sources of virtual machines are based on the counter, too.
            let counters = ["tsc\n", "kvm-clock\n", "hyperv_clocksource_tsc_page\n"]
            return flags.contains("constant_tsc") && flags.contains("nonstop_tsc") && counters.contains(used)
        #else
            return false
        #endif
    }
}
