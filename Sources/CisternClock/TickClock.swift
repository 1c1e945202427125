public import CProcessorTicks
public import Cistern
internal import Foundation
public import Synchronization

/// The ordinary clock, read cheaply: a look at the processor's counter, which is set by the ordinary clock every millisecond.
///
/// Reading `ContinuousClock` costs about as much as all the rest of a decision from memory. The counter is one instruction, so
/// this clock follows it for a millisecond at most; whoever reads later than that reads the ordinary clock and sets it anew.
///
/// **How wrong it may be.** Never ahead of the ordinary clock, and behind it by at most ``largestLagNanoseconds``. The counter
/// is taken to go more slowly than was measured by one part in 256; the measurement errs by a thousandth at most, and that
/// to the slow side, and the system's corrections of its clock by a thousandth between their extremes. So in a millisecond
/// this clock loses up to six microseconds, and what lay between the two readings that set it is at most fifteen.
///
/// Where either was wrong by more, because the ordinary clock was being put right at a great rate, the counter is found to be
/// ahead at the next setting, after a millisecond, and is followed no more; until the ordinary clock has come up, time stands.
///
/// **It never goes back**, for any thread. What it shows is the counter times a constant, plus an offset that only grows:
/// each setting raises it to what the ordinary clock says, and that is more than before since this clock has been slow.
/// Threads on different processors see one counter, as the kernel vouches by using it for its own clock (on ARM it always
/// is one). Where it does not, each reading is one of the ordinary clock. While the machine sleeps the counter may stand
/// still or start anew; the next reading finds it too far from the last setting, or before it, or at most a millisecond
/// after it.
public final class TickClock: TimeSource {
    /// How far behind the ordinary clock a reading may be.
    public static let largestLagNanoseconds: Int64 = 25_000
    /// How long the counter is followed.
    private static let followedNanoseconds = 1_000_000.0
    /// How far apart the two looks at the counter may be between which the ordinary clock was read.
    private static let settingNanoseconds = 15_000.0

    // What a caller's module sees of these it needs to read the clock in place, without a call.
    /// Nanoseconds a tick, in 2^-32, and lower than it is; 0 where the counter is not to be followed.
    @usableFromInline let rate: UInt64
    private let settingTicks: UInt64
    /// How many ticks a setting is good for; 0 where the counter is followed no more.
    @usableFromInline let followedTicks: Atomic<UInt64>
    /// The counter when it was last set.
    @usableFromInline let setAtTicks: Atomic<UInt64>
    /// What to add to the ticks times ``rate`` to have the time.
    ///
    /// It is raised before ``setAtTicks`` is written, and read after
    /// that is, so it is never of an earlier setting.
    @usableFromInline let offsetNanoseconds: Atomic<Int64>
    /// The latest time that was shown by the counter, once that is followed no more.
    private let lastShown = Atomic<Int64>(.min)
    /// It stands last: the compiler does not know its size, and would have to look up where all that follows it stands.
    private let clock = Timeline(ContinuousClock())

    /// Starts at the present instant.
    ///
    /// The first one in a process waits for some hundredths of a second, in which it measures
    /// how fast the counter goes.
    public convenience init() {
        self.init(nanosecondsPerTick: Self.nanosecondsPerTick)
    }

    /// Starts with a rate that was measured; 0 where the counter is not to be followed.
    init(nanosecondsPerTick: Double) {
        rate = UInt64(nanosecondsPerTick * (1 - 1.0 / 256) * 4_294_967_296)
        let isFollowed = nanosecondsPerTick > 0
        settingTicks = isFollowed ? UInt64(Self.settingNanoseconds / nanosecondsPerTick) : 0
        setAtTicks = Atomic(0)
        offsetNanoseconds = Atomic(.min)
        followedTicks = Atomic(isFollowed ? UInt64(Self.followedNanoseconds / nanosecondsPerTick) : 0)
        _ = readAndSet()
    }

    /// The time since this value was made.
    @inlinable
    public func now() -> Instant {
        let setAt = setAtTicks.load(ordering: .acquiring)
        let offset = offsetNanoseconds.load(ordering: .relaxed)
        let ticks = processor_ticks()
        guard ticks &- setAt < followedTicks.load(ordering: .relaxed) else { return readAndSet() }
        return Instant(nanoseconds: nanoseconds(ticks) &+ offset)
    }

    /// Reads the ordinary clock, and sets this one by it.
    @inline(never)
    @usableFromInline
    func readAndSet() -> Instant {
        guard rate > 0, followedTicks.load(ordering: .acquiring) > 0 else {
            return max(clock.now(), Instant(nanoseconds: lastShown.load(ordering: .relaxed)))
        }
        // A thread that was stopped between two looks at the counter cannot tell when the clock was read: it tries again.
        for _ in 0..<64 {
            let before = processor_ticks()
            let now = clock.now()
            let after = processor_ticks()
            guard after &- before <= settingTicks else { continue }
            // It was read no earlier than the first look: what the counter showed then must not be ahead of it.
            let old = offsetNanoseconds.load(ordering: .relaxed)
            guard old == .min || nanoseconds(before) &+ old <= now.nanoseconds else { break }
            // It was read no later than the second look: what is set is behind, and never ahead.
            let offset = now.nanoseconds &- nanoseconds(after)
            let raised = offsetNanoseconds.max(offset, ordering: .relaxed).newValue
            setAtTicks.store(after, ordering: .releasing)
            return Instant(nanoseconds: nanoseconds(after) &+ raised)
        }
        // Reading the clock takes too long to tell when it was read, or the counter was ahead of it.
        return followNoMore()
    }

    private func followNoMore() -> Instant {
        followedTicks.store(0, ordering: .sequentiallyConsistent)
        // Who still follows the counter has looked at it before this.
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

    /// How long a tick takes; less by up to a thousandth, never more.
    ///
    /// 0 where the counter cannot be followed.
    static let nanosecondsPerTick: Double = {
        guard isCounterSteady() else { return 0 }
        let clock = Timeline(ContinuousClock())
        for milliseconds in [20.0, 40, 80] {
            // Looks at the counter outside the readings of the clock: a thread that is stopped in between finds it slower.
            let first = (before: processor_ticks(), now: clock.now(), after: processor_ticks())
            // No wait for something: a rate is measured over time, and the ordinary clock is what says how long this was.
            Thread.sleep(forTimeInterval: milliseconds / 1000)
            let last = (before: processor_ticks(), now: clock.now(), after: processor_ticks())
            guard last.before > first.after else { return 0 }
            let ticks = last.after - first.before
            let uncertain = first.after - first.before + last.after - last.before
            guard uncertain <= ticks / 1000 else { continue }
            return Double(last.now.nanoseconds - first.now.nanoseconds) / Double(ticks)
        }
        return 0
    }()

    /// Whether the counter goes at a constant rate, the same on every processor, and never stops.
    ///
    /// What the processor can do is not enough: where the kernel has found it otherwise, it uses another clock itself.
    private static func isCounterSteady() -> Bool {
        #if arch(arm64)
            return true
        #elseif arch(x86_64) && os(Linux)
            let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
            let flags = text.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
            let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
            let used = (try? String(contentsOfFile: source, encoding: .utf8)) ?? ""
            // Those of virtual machines are made of the counter, too.
            let counters = ["tsc\n", "kvm-clock\n", "hyperv_clocksource_tsc_page\n"]
            return flags.contains("constant_tsc") && flags.contains("nonstop_tsc") && counters.contains(used)
        #else
            return false
        #endif
    }
}
