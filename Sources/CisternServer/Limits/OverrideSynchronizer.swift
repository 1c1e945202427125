internal import Cistern
internal import CisternAdmin
internal import CisternCluster
internal import CisternRedis
internal import Foundation
internal import Logging
internal import Synchronization

/// Keeps a limiter's overrides equal to those that operators have set.
///
/// With a shared store, all servers of the store have the same overrides. With the embedded store, the overrides apply
/// to this process only, and last until it ends.
final class OverrideSynchronizer: Sendable {
    private let copies: OverrideCopies?
    private let limiter: RateLimiterEngine
    private let clock: any TimeSource
    /// All known overrides; with a shared store, as of the last read.
    private let known = Mutex(LimitOverrides())
    /// The overrides applied to the limiter.
    private let applied = Mutex<[String: Limit]>([:])

    init(copies: OverrideCopies?, limiter: RateLimiterEngine, clock: any TimeSource) {
        self.copies = copies
        self.limiter = limiter
        self.clock = clock
    }

    /// Refreshes several times per lease duration until the task is canceled.
    func run() async {
        while !Task.isCancelled {
            await refresh()
            let lease = limiter.leaseSettings ?? LeaseSettings()
            try? await Task.sleep(for: .milliseconds(lease.overrideMilliseconds))
        }
    }

    /// Applies the store's current overrides, and removes expired ones.
    func refresh() async {
        var now = Int64(Date().timeIntervalSince1970 * 1000)
        if let copies {
            await copies.synchronize()
            guard let there = await copies.nowMilliseconds else { return }
            now = there
            let overrides = await copies.overrides
            known.withLock { $0.merge(overrides) }
            known.withLock { _ = $0.dropTombstones(atMilliseconds: there) }
        }
        apply(at: now)
    }

    private func apply(at now: Int64) {
        applied.withLock { applied in
            let inForce = known.withLock { known in
                if copies == nil { _ = known.dropTombstones(atMilliseconds: now) }
                return known.inForce(atMilliseconds: now)
            }
            guard applied != inForce else { return }
            applied = inForce
            limiter.changeLimits(now: clock.now()) { $0.overridden(by: inForce) }
        }
    }

    /// All overrides in force, by organization.
    var inForce: [String: LimitOverrides.Entry] {
        let names = applied.withLock { Set($0.keys) }
        return known.withLock { $0.entries.filter { names.contains($0.key) } }
    }

    /// The override in force for an organization; nil if there is none.
    func entry(of organization: String) -> LimitOverrides.Entry? {
        guard limiter.limits.source(of: Array(organization.utf8)) == .override else { return nil }
        return known.withLock { $0.entries[organization] }
    }

    /// Sets or removes an override, and applies it on this server.
    ///
    /// - Throws: `OperationFailure` if the override cannot be stored; then nothing has changed.
    func set(
        _ limit: Limit?, of organization: String, lifeSeconds: Int64?, by who: String
    ) async throws(OperationFailure) -> LimitOverrides.Entry {
        if limit != nil, entry(of: organization) == nil, limiter.limits.overrideCount >= LimitOverrides.maximumCount {
            throw OperationFailure(
                "\(LimitOverrides.maximumCount) organizations have an override: remove one, or use the limits file")
        }
        let life = lifeSeconds.map { $0 * 1000 }
        if let copies {
            do {
                let entry = try await copies.set(limit, of: organization, timeToLiveMilliseconds: life, by: who)
                await refresh()
                return entry
            } catch {
                throw OperationFailure(error.description)
            }
        }
        let now = Int64(Date().timeIntervalSince1970 * 1000)
        let entry = known.withLock { known in
            let entry = known.entry(
                for: organization, limit: limit, expiresAtMilliseconds: life.map { now + $0 }, setBy: who,
                nowMilliseconds: now)
            known.merge(organization, entry)
            return entry
        }
        apply(at: now)
        return entry
    }
}
