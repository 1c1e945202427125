internal import Synchronization

/// What may change while requests go on.
extension RateLimiter {
    /// The limits in force.
    public var limits: Limits {
        currentLimits.withLock { $0 }
    }

    /// Goes over to other limits, also for the organizations in memory; returns once each has been seen to.
    ///
    /// A bucket keeps its tokens, as far as the new capacity has room for them. What is leased here under a limit that was
    /// higher is not spent any more, so a lowered limit binds at once. Changes wait for each other.
    ///
    /// - Parameter change: makes the new limits of those in force. It is called at once, with a lock held.
    public func changeLimits(now: Instant, _ change: (Limits) -> Limits) {
        limitsChange.withLock { _ in
            let old = currentLimits.withLock { $0 }
            let limits = change(old)
            guard limits != old else { return }
            currentLimits.withLock { $0 = limits }
            let names = old.changes(to: limits)
            embedded?.change(to: limits, names: names, now: now)
            leaseManager?.change(to: limits, names: names, now: now)
        }
    }

    /// How tokens are leased; nil with the embedded store, which leases none.
    public var leaseSettings: LeaseSettings? {
        guard let leaseManager else { return nil }
        return leaseManager.leaseSettings
    }

    /// Leases in another way from the next request to the store on; of no effect with the embedded store.
    ///
    /// What is leased already lasts as long as it was to last.
    public func changeLeaseSettings(to settings: LeaseSettings) {
        guard let leaseManager else { return }
        leaseManager.change(to: settings)
    }

    /// An organization's bucket in this process, as a request would find it; nil where there is none yet, which would be
    /// full, and where buckets are leased from a store.
    package func embeddedBucket(of key: Span<UInt8>, now: Instant) -> TokenBucket? {
        guard let embedded else { return nil }
        return embedded.bucket(of: key, now: now)
    }

    /// Gives one organization's lease back, and returns once that is answered or has failed.
    package func returnLease(of key: [UInt8], now: Instant) async {
        guard let leaseManager, let request = leaseManager.returnTokens(key.span, now: now) else {
            return
        }
        await withCheckedContinuation { continuation in
            Self.carry(request, from: leaseManager) { continuation.resume() }
        }
    }

    /// An organization's bucket is full: makes it so with the embedded store; else the store has been told, and what it
    /// said before counts no more.
    package func fillBucket(of key: Span<UInt8>, now: Instant) {
        embedded?.fill(key, now: now)
        leaseManager?.invalidateEstimate(of: key)
    }
}
