/// What operators change while requests go on: limits, lease settings, a bucket that is to be full again.
extension Lessee {
    /// Goes over to other limits.
    ///
    /// Tokens that were leased under a limit that was higher are not spent any more; the store counts them as leased until
    /// their lease ends, or until it hears of the organisation again.
    ///
    /// - Parameter names: whose limit is another one; nil where it may be anyone's.
    func change(to limits: Limits, names: Set<[UInt8]>?, now: Instant) {
        shards.forEach { $0.limits = limits }
        shards.forEachPlace(of: names, hash: hash) { state, position in
            let (old, limit) = (state.table[position].limit, state.limits.limit(of: state.table.key(at: position)))
            guard limit != old else { return }
            state.table[position].change(to: limit, from: old, tally: &state.tokens)
            state.localBuckets[position] = nil
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

    /// The request that gives one organisation's lease back; nil where there is nothing to tell, or one is on its way.
    func giveBack(_ organization: Span<UInt8>, now: Instant) -> LeaseRequest? {
        let hash = hash(organization)
        return shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return nil }
            return giveBack(at: position, isForced: true, in: &state, now: now)
        }
    }

    /// The store's bucket of an organisation has been filled: it is asked at the next shortage.
    func forgetWord(of organization: Span<UInt8>) {
        let hash = hash(organization)
        shards.withShard(of: hash) { state in
            guard let position = state.table.find(organization, hash: hash) else { return }
            state.table[position].forgetWord()
        }
    }
}
