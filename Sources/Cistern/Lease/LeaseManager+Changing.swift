/// What operators change while requests go on: limits, lease settings, a bucket that is to be full again.
extension LeaseManager {
    /// Goes over to other limits.
    ///
    /// Tokens that were leased under a limit that was higher are not spent any more; the store counts them as leased until
    /// their lease ends, or until it hears of the organization again.
    ///
    /// - Parameter names: whose limit is another one; nil where it may be anyone's.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachPlace(of: names, hash: hash) { state, index in
            let (old, limit) = (state.table[index].limit, state.limits.limit(of: state.table.key(at: index)))
            guard limit != old else { return }
            state.table[index].change(to: limit, from: old, tally: &state.tokens)
            state.localBuckets[index] = nil
        }
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

    /// The request that gives one organization's lease back; nil where there is nothing to tell, or one is on its way.
    func returnTokens(_ key: Span<UInt8>, now: Instant) -> LeaseRequest? {
        let hash = hash(key)
        return shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return nil }
            return returnTokens(at: index, isForced: true, in: &state, now: now)
        }
    }

    /// The store's bucket of an organization has been filled: it is asked at the next shortage.
    func invalidateEstimate(of key: Span<UInt8>) {
        let hash = hash(key)
        shards.withShard(of: hash) { state in
            guard let index = state.table.find(key, hash: hash) else { return }
            state.table[index].invalidateEstimate()
        }
    }
}
