internal import Synchronization

/// The one door: decides whether an organization may do something now.
///
/// A limiter either owns its buckets (the embedded store) or leases tokens from a store that other servers share. It
/// may be called from any thread. It reads no clock and rolls no dice; both come in as arguments.
///
/// The cost of a request is in whole tokens, 0 to 10^9; one above the organization's capacity is always denied.
public final class RateLimiter: Sendable {
    enum Backend: ~Copyable, Sendable {
        case leased(LeaseManager)
        case embedded(EmbeddedStore)
    }

    /// Not copyable, so that looking at it keeps no count of references: all threads would write that for each decision.
    let backend: Backend
    /// That of the backend, and where its slots stand.
    private let hash: NameHash
    private let prefetchHints: PrefetchHints
    /// What the backend has been told.
    let currentLimits: Mutex<Limits>
    /// Held by whoever changes the limits, until every organization has been gone over.
    let limitsChange = Mutex(())

    /// Creates a limiter that keeps the buckets itself and shares them with nobody.
    ///
    /// - Parameter seed: a secret random number; it keeps outsiders from choosing names that collide in the table.
    public init(limits: Limits, settings: LimiterSettings = LimiterSettings(), seed: UInt64) {
        currentLimits = Mutex(limits)
        hash = NameHash(seed: seed)
        let store = EmbeddedStore(limits: limits, settings: settings, hash: hash)
        prefetchHints = store.prefetchHints
        backend = .embedded(store)
    }

    /// Creates a limiter that leases tokens from `store`.
    ///
    /// - Parameters:
    ///   - lesseeID: the name under which the store records what this limiter holds. No two limiters may ever use the
    ///     same one: make it from something random each time the process starts.
    ///   - sizing: how much to lease ahead of use.
    ///   - seed: a secret random number; it keeps outsiders from choosing names that collide in the table.
    public init(
        limits: Limits, store: some LeaseStore, lesseeID: String, settings: LimiterSettings = LimiterSettings(),
        sizing: any LeaseSizing = DemandSizing(), seed: UInt64
    ) {
        currentLimits = Mutex(limits)
        hash = NameHash(seed: seed)
        let leaseManager = LeaseManager(
            limits: limits, store: store, lesseeID: lesseeID, settings: settings, sizing: sizing, hash: hash)
        prefetchHints = leaseManager.shards.prefetchHints
        backend = .leased(leaseManager)
    }

    /// Decides at once, from this process's own memory; nil where the store must be asked first.
    ///
    /// With the embedded store it always decides. While the organization's node is known to be down the failure
    /// policy decides.
    ///
    /// - Parameter now: read once, while what is known of the organization is on its way from memory: a clock that is read in
    ///   the call costs less than one that is read before it.
    public func decideNow(_ key: Span<UInt8>, cost: Int = 1, now: @autoclosure () -> Instant) -> Decision? {
        // Here and in `allowNow` another copy of what follows, so that in this one nothing asks for the length again, nor
        // saves registers for the call that the hash of other names is.
        guard InlineKey.commonLengths ~= key.count else {
            return decideUncommonLength(key, cost: cost, now: now)
        }
        return decide(key, hash: hashAndPrefetch(key), cost: cost, now: now)
    }

    @inline(never)
    private func decideUncommonLength(_ key: Span<UInt8>, cost: Int, now: () -> Instant) -> Decision? {
        decide(key, hash: hashAndPrefetch(key), cost: cost, now: now)
    }

    /// Says whether a request may go ahead, at once, and nothing else; nil where the store must be asked first.
    ///
    /// It comes to the same as ``decideNow(_:cost:now:)`` and is quicker where there are many organizations: of one with tokens at
    /// hand it looks at a single cache line, since what is left afterwards is not asked for.
    ///
    /// - Parameter now: read once, as by ``decideNow(_:cost:now:)``.
    public func allowNow(_ key: Span<UInt8>, cost: Int = 1, now: @autoclosure () -> Instant) -> Bool? {
        guard InlineKey.commonLengths ~= key.count else {
            return allowUncommonLength(key, cost: cost, now: now)
        }
        return allow(key, cost: cost, now: now, hash: hashAndPrefetch(key))
    }

    @inline(never)
    private func allowUncommonLength(_ key: Span<UInt8>, cost: Int, now: () -> Instant) -> Bool? {
        allow(key, cost: cost, now: now, hash: hashAndPrefetch(key))
    }

    /// The hash of a name, of which the slot is on its way then.
    ///
    /// This is all that comes before the first look at memory, and no more should: what lies between one decision's last look
    /// and the next one's first is what a processor must be able to look ahead. So it knows of no backend, and is apart from
    /// ``allow(_:cost:now:hash:)``, which saves registers first; the result of ``decide(_:hash:cost:now:)`` would be copied for
    /// that.
    @inline(__always)
    private func hashAndPrefetch(_ key: Span<UInt8>) -> UInt64 {
        let hash = hash(key)
        prefetchHints.prefetchSlot(of: hash)
        return hash
    }

    /// As ``decide(_:hash:cost:now:)``, and what is left is not looked at where tokens at hand pay.
    ///
    /// The hash comes last, so that all else stays in the registers where it came.
    @inline(never)
    private func allow(_ key: Span<UInt8>, cost: Int, now: () -> Instant, hash: UInt64) -> Bool? {
        // By the class's name here and in what follows: `Self` is looked up at run time, though the class is final.
        RateLimiter.check(cost)
        let now = now()
        switch backend {
        case .embedded(let store):
            let costMicrotokens = Int64(cost) &* Limit.microtokensPerToken
            if store.takeHot(key, hash: hash, costMicrotokens: costMicrotokens, now: now) { return true }
            return store.decide(key, hash: hash, costMicrotokens: costMicrotokens, now: now).isAllowed
        case .leased(let leaseManager):
            let cost = UInt32(truncatingIfNeeded: cost)
            if leaseManager.takeHot(key, hash: hash, cost: cost, now: now) { return true }
            return RateLimiter.decide(key, hash: hash, cost: cost, by: leaseManager, now: now)?.isAllowed
        }
    }

    @inline(__always)
    private func decide(_ key: Span<UInt8>, hash: UInt64, cost: Int, now: () -> Instant) -> Decision? {
        RateLimiter.check(cost)
        let now = now()
        switch backend {
        case .embedded(let store):
            let costMicrotokens = Int64(cost) &* Limit.microtokensPerToken
            let payment = store.payHot(key, hash: hash, costMicrotokens: costMicrotokens, now: now)
            if payment.isMade { return payment.decision(at: now) }
            return store.decide(key, hash: hash, costMicrotokens: costMicrotokens, now: now)
        case .leased(let leaseManager):
            let cost = UInt32(truncatingIfNeeded: cost)
            let payment = leaseManager.payHot(key, hash: hash, cost: cost, now: now)
            if payment.isMade { return payment.decision(at: now) }
            return RateLimiter.decide(key, hash: hash, cost: cost, by: leaseManager, now: now)
        }
    }

    /// Decides what tokens held could not pay at once, and asks for more in good time.
    @inline(never)
    private static func decide(
        _ key: Span<UInt8>, hash: UInt64, cost: UInt32, by leaseManager: LeaseManager, now: Instant
    ) -> Decision? {
        let verdict = leaseManager.decide(key, hash: hash, cost: cost, now: now)
        if verdict.isRunningDry, let request = leaseManager.renew(key, now: now) {
            RateLimiter.carry(request, from: leaseManager)
        }
        return verdict.decision
    }

    /// Decides, waiting for the store if need be, but no longer than the lease timeout.
    public func decide(_ key: String, cost: Int = 1, now: Instant) async -> Decision {
        if let decision = decideNow(key.utf8.span, cost: cost, now: now) { return decision }
        return await withCheckedContinuation { continuation in
            let decision = admit(key.utf8.span, cost: cost, now: now) { continuation.resume(returning: $0) }
            if let decision { continuation.resume(returning: decision) }
        }
    }

    /// Decides, or returns nil and calls `resume` once the store has answered: on any thread, once, within the lease
    /// timeout.
    ///
    /// `resume` is not called where this returns a decision.
    public func decide(
        _ key: Span<UInt8>, cost: Int = 1, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        decideNow(key, cost: cost, now: now) ?? admit(key, cost: cost, now: now, resume: resume)
    }

    /// Lets a request that memory could not decide wait for the store, unless it can be decided after all.
    private func admit(
        _ key: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        guard let leaseManager else { return nil }
        let admission = leaseManager.admit(
            key, costMicrotokens: Self.microtokens(cost), now: now, resume: resume)
        switch admission {
        case .decided(let decision): return decision
        case .waiting: return nil
        case .send(let request):
            Self.carry(request, from: leaseManager)
            return nil
        }
    }

    /// Gives every lease back to the store, and returns once each has been answered or has failed.
    ///
    /// For a server that stops; decisions made afterwards lease anew. It goes on a few hundred at a time, so that the
    /// last ones do not wait beyond their deadline for the first.
    public func returnLeases(clock: some TimeSource) async {
        guard let leaseManager else { return }
        await Self.carryAll(from: leaseManager) { shard, start in
            leaseManager.returnTokens(shard: shard, from: start, most: 256, now: clock.now())
        }
    }

    /// Turns to the buckets where the store keeps them now, gives the leases of those that have been left back to where
    /// they came from, and returns once each has been answered or has failed.
    ///
    /// To be called after the nodes of the store have changed. Only organizations whose bucket is another one now are
    /// touched.
    public func returnMovedLeases(clock: some TimeSource) async {
        guard let leaseManager else { return }
        await Self.carryAll(from: leaseManager) { shard, start in
            leaseManager.returnMoved(shard: shard, from: start, most: 256, now: clock.now())
        }
    }

    /// Carries requests to the store, as many at a time as are handed out, and waits for each to come back.
    private static func carryAll(
        from leaseManager: LeaseManager, _ next: (_ shard: Int, _ start: Int) -> (requests: [LeaseRequest], next: Int?)
    ) async {
        for shard in 0..<leaseManager.shardCount {
            var start: Int? = 0
            while let from = start, !Task.isCancelled {
                let (requests, following) = next(shard, from)
                await withTaskGroup(of: Void.self) { group in
                    for request in requests {
                        group.addTask {
                            await withCheckedContinuation { continuation in
                                carry(request, from: leaseManager) { continuation.resume() }
                            }
                        }
                    }
                }
                start = following
            }
        }
    }

    /// Gives back the leases of organizations that have fallen silent, so that their tokens are where they are needed.
    ///
    /// To be called every 20 to 100 milliseconds; it returns at once. A limiter for which nobody calls it loses such
    /// tokens when their lease lapses. Of no effect with the embedded store.
    public func returnIdleLeases(now: Instant) {
        guard let leaseManager else { return }
        for shard in 0..<leaseManager.shardCount {
            for request in leaseManager.returnIdle(shard: shard, most: 256, now: now) {
                Self.carry(request, from: leaseManager)
            }
        }
    }

    /// Tokens of an organization that are leased here and not spent; at an instant, those that have not lapsed by then.
    ///
    /// 0 with the embedded store.
    package func leased(_ key: Span<UInt8>, now: Instant? = nil) -> Int {
        guard let leaseManager else { return 0 }
        return leaseManager.leased(key, now: now)
    }

    /// What the limiter has counted, summed over its shards one after the other.
    package var statistics: LimiterStatistics {
        var statistics = LimiterStatistics()
        embedded?.add(to: &statistics)
        leaseManager?.add(to: &statistics)
        return statistics
    }

    var embedded: EmbeddedStore? {
        switch backend {
        case .embedded(let store): store
        case .leased: nil
        }
    }

    var leaseManager: LeaseManager? {
        switch backend {
        case .embedded: nil
        case .leased(let leaseManager): leaseManager
        }
    }

    /// Carries a request to the store, and whatever follows from its answer.
    static func carry(
        _ request: LeaseRequest, from leaseManager: LeaseManager, whenAnswered: @escaping @Sendable () -> Void = {}
    ) {
        leaseManager.store.lease(request) { result, now in
            let settlement = leaseManager.settle(request, with: result, now: now)
            // Ask for the others before calling anyone back: their deadline is running.
            if let next = settlement.next { RateLimiter.carry(next, from: leaseManager) }
            for (resume, decision) in settlement.decided { resume(decision) }
            whenAnswered()
        }
    }

    @inline(__always)
    private static func check(_ cost: Int) {
        precondition(0...Limit.maximumCapacity ~= cost, "a cost is 0 to 1000000000 tokens")
    }

    @inline(__always)
    private static func microtokens(_ cost: Int) -> Int64 {
        check(cost)
        return Int64(cost) &* Limit.microtokensPerToken
    }
}
