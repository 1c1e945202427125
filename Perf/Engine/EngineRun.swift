internal import CJemalloc
internal import Cistern
internal import Foundation

/// Measures decisions in memory, without a server, a store or a network.
struct EngineRun {
    /// Where the tokens come from.
    enum Kind: String, CaseIterable, Sendable {
        /// The limiter keeps the buckets itself.
        case embedded
        /// The limiter spends leased tokens.
        case leased
        /// The same two, with decisions that include the balance and the retry time.
        case embeddedDecision = "embedded with balance"
        case leasedDecision = "leased with balance"
        /// The same two through `RateLimiter`, which reads its own clock and checks key, cost and state.
        case embeddedFacade = "embedded through RateLimiter"
        case leasedFacade = "leased through RateLimiter"

        var isEmbedded: Bool { self == .embedded || self == .embeddedDecision || self == .embeddedFacade }
        var call: Call {
            switch self {
            case .embedded, .leased: .allowNow
            case .embeddedDecision, .leasedDecision: .decideNow
            case .embeddedFacade, .leasedFacade: .tryAcquire
            }
        }
    }

    /// The method that makes the decisions.
    enum Call: Sendable {
        case allowNow
        case decideNow
        case tryAcquire
    }

    /// One row.
    struct Mix: Sendable {
        let kind: Kind
        let organizations: Int
        let skew: Double
        let threads: Int

        var name: String {
            let spread = organizations == 1 ? "" : skew == 0 ? ", uniform" : ", Zipf \(skew)"
            return "\(kind.rawValue), \(TextReport.grouped(organizations))\(spread), \(threads) thread"
                + (threads == 1 ? "" : "s")
        }
    }

    let mix: Mix
    let seconds: Double
    /// The number of requests whose names are drawn in advance for each thread.
    let turns: Int
    /// Whether to measure the time of first requests, which needs five times as many of them.
    let timesFirstRequests: Bool
    private let clock = TickClock()

    init(_ mix: Mix, seconds: Double, turns: Int, timesFirstRequests: Bool) {
        self.mix = mix
        self.seconds = seconds
        self.turns = turns
        self.timesFirstRequests = timesFirstRequests
    }

    func run() async throws -> PerfResult.Sample {
        let names = NameCycle.names(mix.organizations)
        let cycles = (1...UInt64(mix.threads)).map {
            NameCycle(names: names, skew: mix.skew, turns: turns, seed: $0)
        }
        // With few organizations the allocator dominates these figures, and rows with balance only repeat them.
        let measuresKeyMemory = mix.organizations >= 100_000 && mix.kind.call == .allowNow
        let slowest = measuresKeyMemory && timesFirstRequests ? try slowestFirstRequest(names) : nil
        let before = Jemalloc.allocatedBytes()
        let limiter = try makeLimiter()
        enter(names, limiter.engine) { _, _ in }
        // Keeps the names alive: the first reading includes them, and Swift may release them after their last use.
        let bytes = withExtendedLifetime(names) { Jemalloc.allocatedBytes() - before }
        var sample = PerfResult.Sample()
        if measuresKeyMemory {
            sample.values[.bytesPerOrganization] = Double(bytes) / Double(mix.organizations)
            sample.values[.slowestNewcomerMicroseconds] = slowest.map { Double($0) / 1000 }
        }
        let counts = try await limiter.withRunning { try await drive(limiter, cycles) }
        guard counts.unexpected == 0 else {
            throw PerfError("\(mix.name): \(counts.unexpected) requests were not allowed from memory", .wrongCount)
        }
        sample.seconds = counts.seconds
        sample.decisions = counts.decisions
        sample.values[.decisionsPerSecond] = Double(counts.decisions) / counts.seconds
        sample.values[.nanosecondsPerDecision] =
            counts.seconds * 1e9 * Double(mix.threads) / Double(max(1, counts.decisions))
        sample.values[.allocatedBytes] = Double(counts.allocated) / Double(max(1, counts.decisions))
        return sample
    }

    private func makeLimiter() throws -> RateLimiter {
        var settings = LimiterSettings()
        // Extra room, because names are distributed unevenly over the stripes of the table.
        settings.maximumBuckets = max(settings.maximumBuckets, mix.organizations * 2)
        settings.lease.durationMilliseconds = 60_000
        // On a slow machine a key may be idle for long; its tokens stay here.
        settings.lease.idleMilliseconds = 60_000
        settings.lease.prefetchMilliseconds = 0
        let limits = Limits(standard: BenchmarkFixture.unlimited)
        guard !mix.kind.isEmbedded else { return try RateLimiter(limits: limits, settings: settings) }
        return try RateLimiter(
            limits: limits, store: SharedStore { GenerousStore(clock: $0.clock) }, settings: settings,
            sizing: FixedSizing(tokens: Limit.maximumCapacity))
    }

    /// Makes the first request of every organization, which also leases the tokens for its later requests.
    ///
    /// Reports each request's duration to `body`, in nanoseconds of this thread's processor time, so that preemption by
    /// other threads does not count.
    private func enter(
        _ names: [UInt8], _ limiter: RateLimiterEngine, _ body: (_ number: Int, _ nanoseconds: Int64) -> Void
    ) {
        for number in 0..<names.count / NameCycle.nameLength {
            let start = number * NameCycle.nameLength
            let name = names.span.extracting(start..<start + NameCycle.nameLength)
            let before = ProcessorTime.nanosecondsOfThisThread()
            _ = limiter.decide(name, now: clock.now()) { _ in }
            body(number, ProcessorTime.nanosecondsOfThisThread() - before)
        }
    }

    /// The maximum duration of any organization's first request, in nanoseconds; each is the fastest of four rounds.
    ///
    /// The limiter does the same work in every round, so the minimum excludes delays by the machine (milliseconds on a
    /// shared one) and by the allocator, which requests memory from the system in the first round.
    private func slowestFirstRequest(_ names: [UInt8]) throws -> Int64 {
        var least = [Int64](repeating: .max, count: mix.organizations)
        for _ in 0..<4 {
            // Purge the last limiter's memory now, so that no first request pays for it.
            Jemalloc.purge()
            enter(names, try makeLimiter().engine) { number, nanoseconds in
                least[number] = min(least[number], nanoseconds)
            }
        }
        Jemalloc.purge()
        return least.max() ?? 0
    }

    // MARK: The measured loop

    private struct Counts {
        var decisions = 0
        var allocated: UInt64 = 0
        var unexpected = 0
        var seconds = 0.0

        static func += (sum: inout Counts, other: Counts) {
            sum.decisions += other.decisions
            sum.allocated += other.allocated
            sum.unexpected += other.unexpected
            sum.seconds = max(sum.seconds, other.seconds)
        }
    }

    private func drive(_ limiter: RateLimiter, _ cycles: [NameCycle]) async throws -> Counts {
        let phase = LoadPhase()
        let (clock, call) = (clock, mix.kind.call)
        return try await withThrowingTaskGroup(of: Counts.self) { group in
            for cycle in cycles {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        // A dedicated thread, because the loop never yields.
                        Thread.detachNewThread {
                            continuation.resume(
                                returning: Self.decide(
                                    limiter, cycle, call: call, clock: clock, phase: phase))
                        }
                    }
                }
            }
            let sleep: Void? = try? await Task.sleep(for: .seconds(seconds))
            phase.turn(to: .over)
            let sum = try await group.reduce(into: Counts()) { $0 += $1 }
            if sleep == nil { throw CancellationError() }
            return sum
        }
    }

    /// One thread's decisions: a clock read, a name, a decision.
    @inline(never)
    private static func decide(
        _ facade: RateLimiter, _ cycle: NameCycle, call: Call, clock: TickClock, phase: LoadPhase
    ) -> Counts {
        let limiter = facade.engine
        var counts = Counts()
        let names = cycle.bytes.span
        var start = 0
        /// The range of the next name.
        ///
        /// Unchecked, because a check is not part of the decision, and the benchmarks compared with this one have none.
        @inline(__always)
        func next() -> Range<Int> {
            let range = Range(uncheckedBounds: (start, start &+ NameCycle.nameLength))
            start = range.upperBound == names.count ? 0 : range.upperBound
            return range
        }
        /// Makes 256 decisions, and returns whether to continue.
        func decideSome(_ names: Span<UInt8>) -> Bool {
            switch call {
            case .decideNow:
                for _ in 0..<256 {
                    let name = names.extracting(unchecked: next())
                    guard let decision = limiter.decideNow(name, now: clock.now()), decision.outcome == .allowed else {
                        counts.unexpected += 1
                        continue
                    }
                }
            case .allowNow:
                for _ in 0..<256 {
                    let name = names.extracting(unchecked: next())
                    if limiter.allowNow(name, now: clock.now()) != true { counts.unexpected += 1 }
                }
            case .tryAcquire:
                for _ in 0..<256 {
                    let name = names.extracting(unchecked: next())
                    let decision = try? facade.tryAcquire(name)
                    if decision?.outcome != .allowed { counts.unexpected += 1 }
                }
            }
            return phase.current.sends
        }
        // Warm-up: a thread's first decisions miss the caches and pay for the runtime's one-time setup. The benchmarks
        // compared with this one have a warm-up of the same length.
        for _ in 0...names.count / NameCycle.nameLength / 5 / 256 { _ = decideSome(names) }
        // Reading the counter has a one-time setup, too, and may allocate each time; that is subtracted below.
        _ = Jemalloc.allocatedByThisThread()
        let first = Jemalloc.allocatedByThisThread()
        let second = Jemalloc.allocatedByThisThread()
        let startedAt = clock.now()
        repeat { counts.decisions += 256 } while decideSome(names)
        let endedAt = clock.now()
        counts.allocated = Jemalloc.allocatedByThisThread() - second - (second - first)
        counts.seconds = Double(endedAt.nanoseconds - startedAt.nanoseconds) / 1e9
        return counts
    }
}

/// A store that immediately grants everything that is requested.
private struct GenerousStore: LeaseStore {
    let clock: any TimeSource

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let tokens = min(request.missingTokens + request.requested.prefetchTokens, request.limit.capacity)
        reply(
            .success(
                Grant(
                    tokens: tokens, held: request.held, openUnits: 0,
                    openRefillUnitsPerMillisecond: request.limit.refillUnitsPerMillisecond,
                    outstanding: tokens)), clock.now())
    }
}
