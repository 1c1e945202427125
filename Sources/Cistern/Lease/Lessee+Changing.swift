/// What operators change while requests go on: limits, lease settings, a bucket that is to be full again.
extension Lessee {
    /// Goes over to other limits: requests that give back what was leased under the old ones, to be carried to the store.
    ///
    /// Tokens of an organisation with a request in flight stay, and so do those beyond a few thousand organisations: they
    /// lapse within a lease.
    ///
    /// - Parameter names: whose limit is another one; nil where it may be anyone's.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) -> [LeaseRequest] {
        shards.forEach { $0.limits = limits }
        var requests: [LeaseRequest] = []
        shards.forEachPlace(of: names, hash: hash) { state, position in
            let request = changeLimit(at: position, givesBack: requests.count < 4096, in: &state, now: now)
            if let request { requests.append(request) }
        }
        return requests
    }

    private func changeLimit(
        at position: Int, givesBack: Bool, in state: inout State, now: Instant
    ) -> LeaseRequest? {
        let limit = state.limits.limit(of: state.table.key(at: position))
        guard limit != state.table[position].limit else { return nil }
        state.table[position].change(to: limit, now: now)
        state.localBuckets[position] = nil
        return givesBack ? giveBack(at: position, in: &state, now: now) : nil
    }

    /// The lease settings in force.
    var leaseSettings: LeaseSettings {
        shards.withShard(at: 0) { $0.lease }
    }

    /// Goes over to other lease settings from the next request to the store on.
    ///
    /// What is leased already lasts as long as it was to last.
    func change(to lease: LeaseSettings) {
        shards.forEach { state in
            state.lease = lease
            state.longest.durationMilliseconds = max(state.longest.durationMilliseconds, lease.durationMilliseconds)
            state.longest.horizonMilliseconds = max(state.longest.horizonMilliseconds, lease.horizonMilliseconds)
        }
    }

    /// The request that gives one organisation's lease back; nil where there is nothing to tell, or one is on its way.
    func giveBack(_ organization: Span<UInt8>, now: Instant) -> LeaseRequest? {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return nil }
            return giveBack(at: position, isForced: true, in: &state, now: now)
        }
    }

    /// The store's bucket of an organisation has been filled: it is asked at the next shortage.
    func forgetWord(of organization: Span<UInt8>, now: Instant) {
        let hash = hash(organization)
        shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return }
            state.table[position].forgetWord(now: now)
        }
    }
}
