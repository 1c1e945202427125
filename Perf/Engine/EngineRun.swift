internal import CJemalloc
internal import Cistern
internal import Foundation

/// Measures decisions in memory, without a server, a store or a network.
struct EngineRun {
    /// Where the tokens are.
    enum Kind: String, CaseIterable, Sendable {
        /// The limiter keeps the buckets itself.
        case embedded
        /// The limiter hands out what it has leased.
        case leased
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
    private let clock = Timeline(ContinuousClock())

    init(_ mix: Mix, seconds: Double) {
        self.mix = mix
        self.seconds = seconds
    }

    func run() async throws -> PerfResult.Sample {
        // Enough turns that every organisation comes, and the processor cannot learn them.
        let workload = Workload(
            organizations: mix.organizations, skew: mix.skew, turns: Workload.turns(for: mix.organizations))
        let before = Jemalloc.allocatedBytes()
        let limiter = makeLimiter()
        for name in workload.names { _ = limiter.decideNow(name.span, now: clock.now()) }
        if mix.kind == .leased { lease(limiter, workload) }
        let bytes = Jemalloc.allocatedBytes() - before
        var sample = PerfResult.Sample()
        // Of few organisations it would tell more of the allocator than of them.
        if mix.organizations >= 100_000 {
            sample.values[.bytesPerOrganization] = Double(bytes) / Double(mix.organizations)
        }
        let counts = try await drive(limiter, workload)
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

    private func makeLimiter() -> RateLimiter {
        var settings = LimiterSettings()
        // Room to spare, since names fall unevenly onto the shards.
        settings.maximumBuckets = max(10_000, mix.organizations * 2)
        settings.lease.durationMilliseconds = 60_000
        settings.lease.prefetchMilliseconds = 0
        let limits = Limits(standard: Rig.boundless)
        switch mix.kind {
        case .embedded: return RateLimiter(limits: limits, settings: settings, seed: 1)
        case .leased:
            return RateLimiter(
                limits: limits, store: GenerousStore(clock: clock), lessee: "perf", settings: settings,
                sizing: FixedSizing(tokens: Limit.maximumCapacity), seed: 1)
        }
    }

    /// Lets every organisation lease what it will need.
    private func lease(_ limiter: RateLimiter, _ workload: Workload) {
        for name in workload.names { _ = limiter.decide(name.span, now: clock.now()) { _ in } }
    }

    // MARK: The loop that is measured

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

    private func drive(_ limiter: RateLimiter, _ workload: Workload) async throws -> Counts {
        let phase = LoadPhase()
        let (threads, clock) = (mix.threads, clock)
        return try await withThrowingTaskGroup(of: Counts.self) { group in
            for number in 0..<threads {
                let firstTurn = number * workload.turns.count / threads
                group.addTask {
                    await withCheckedContinuation { continuation in
                        // A thread of its own: the loop gives way to nobody.
                        Thread.detachNewThread {
                            continuation.resume(
                                returning: Self.decide(limiter, workload, from: firstTurn, clock: clock, phase: phase))
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
        _ limiter: RateLimiter, _ workload: Workload, from firstTurn: Int, clock: Timeline<ContinuousClock>,
        phase: LoadPhase
    ) -> Counts {
        var counts = Counts()
        var turn = firstTurn
        /// Whether to go on.
        func decideSome() -> Bool {
            for _ in 0..<256 {
                let name = workload.names[Int(workload.turns[turn])]
                turn = turn + 1 == workload.turns.count ? 0 : turn + 1
                if limiter.decideNow(name.span, now: clock.now())?.outcome != .allowed { counts.unexpected += 1 }
            }
            return phase.current.sends
        }
        // The first of a thread also pay for what the runtime sets up once.
        _ = decideSome()
        // So does reading the counter, and it does so each time.
        _ = Jemalloc.allocatedByThisThread()
        let first = Jemalloc.allocatedByThisThread()
        let second = Jemalloc.allocatedByThisThread()
        let start = clock.now()
        repeat { counts.decisions += 256 } while decideSome()
        let end = clock.now()
        counts.allocated = Jemalloc.allocatedByThisThread() - second - (second - first)
        counts.seconds = Double(end.nanoseconds - start.nanoseconds) / 1e9
        return counts
    }
}

/// A store that grants whatever is asked for, at once.
private struct GenerousStore: LeaseStore {
    let clock: Timeline<ContinuousClock>

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let tokens = min(request.needed + request.wish.ahead, request.limit.capacity)
        reply(
            .success(
                Grant(
                    tokens: tokens, held: request.held, openMicrotokens: 0,
                    openRefillMicrotokensPerMillisecond: request.limit.refillMicrotokensPerMillisecond,
                    outstanding: tokens)), clock.now())
    }
}
