package import Cistern
internal import CisternSupport

/// The limiter that the servers of a world run.
package enum Policy: String, Sendable, CaseIterable {
    /// Leases sized by demand, as in Cistern.
    case cistern
    /// Counts locally and settles with the store every 100 ms, as some other limiters do.
    case writeBehind = "write-behind"
    /// Leases of 50 tokens, regardless of demand.
    case fixedLease = "fixed-lease"
    /// Asks the store for each request.
    case perRequest = "per-request"
}

/// The kinds of faults in a world.
package enum FaultKind: String, Sendable, CaseIterable {
    case none
    /// Loss, duplicates, reordering, partitions and periods of high latency.
    case network
    /// Crashes, pauses and hangs, lost data and scripts, changes of clock drift, and keys that move to other nodes.
    case crash
    /// Steps of the nodes' clocks, forward and back.
    case clock
    case all

    /// Whether machines or the network fail.
    var injectsFaults: Bool { breaksNetwork || breaksMachines }
    var breaksNetwork: Bool { self == .network || self == .all }
    package var breaksMachines: Bool { self == .crash || self == .all }
}

/// All settings of a world.
///
/// Equal settings give equal worlds.
package struct WorldSettings: Sendable {
    package var seed: UInt64
    package var servers = 8
    package var nodes = 1
    package var keys = 1
    /// The load of each simulated key, and the number of keys that it represents.
    ///
    /// It has one group per simulated key. If nil, the workload sets the loads, and each key represents only itself.
    package var population: Population?
    package var limit: Limit
    package var limiter = LimiterSettings()
    package var policy = Policy.cistern
    package var workload = WorkloadKind.even
    /// The average load, in multiples of the buckets' refill.
    package var load: Double
    /// The period of workloads that change over time, in milliseconds.
    package var periodMilliseconds: Int64 = 5000
    package var faults = FaultKind.none
    /// The shortest and the longest time from one fault to the next, in milliseconds.
    package var faultGapMilliseconds: ClosedRange<Int64> = 50...1000
    /// How long the workload and the faults last, in milliseconds.
    package var durationMilliseconds: Int64 = 30_000
    /// The length of the recovery phase, with a light load and without faults, in milliseconds; 0 for no such phase.
    package var recoveryMilliseconds: Int64 = 0
    /// The shortest and the longest time that a message takes, in microseconds.
    package var latencyMicroseconds: ClosedRange<Int64> = 200...800
    /// The maximum drift of a server's clock relative to the nodes' clocks, in parts per million.
    package var driftPartsPerMillion: Int64 = 0

    package init(seed: UInt64, limit: Limit, workload: WorkloadKind = .even) {
        self.seed = seed
        self.limit = limit
        self.workload = workload
        load = workload.standardLoad
    }

    /// A one-line summary of the settings.
    package var summary: String {
        let lease = limiter.lease
        return """
            \(servers) servers, \(nodes) nodes, \(keys) organizations of \(limit.capacity) tokens and \
            \(limit.refillPerSecond)/s, workload \(workload.rawValue) at \(load) times the refill, latency \
            \(latencyMicroseconds.lowerBound)..\(latencyMicroseconds.upperBound) µs, a fault every \
            \(faultGapMilliseconds.lowerBound)..\(faultGapMilliseconds.upperBound) ms, \
            \(limiter.failurePolicy.rawValue) on failure, lease \(lease.durationMilliseconds) ms, horizon \
            \(lease.horizonMilliseconds) ms, idle \(lease.idleMilliseconds) ms, prefetch \
            \(lease.prefetchMilliseconds) ms, minimum \(lease.minimumDemandTokens), alone \(lease.soloMultiplier)
            """
    }

    /// The lease settings for as many lessees as there may be: a restarted server counts twice for a while.
    var lease: LeaseSettings {
        limiter.lease.scaled(forLessees: (faults == .none ? servers : 2 * servers) + 15, of: limit)
    }

    /// The approximate number of requests to expect.
    package var expectedRequests: Double {
        let tokens =
            limit.refillPerSecond * (population?.totalLoad ?? Double(keys)) * load
            * Double(durationMilliseconds) / 1000
        return tokens * 2 / Double(1 + workload.highestCost)
    }

    /// The number of keys that a simulated key represents.
    func count(of key: Int) -> Int { population?.groups[key].count ?? 1 }

    /// The number of keys that the results represent.
    var representedKeys: Int { population?.keys ?? keys }

    /// Whether servers cannot keep all keys in memory, and refuse requests for some of them.
    var isNearCapacity: Bool { limiter.maximumBuckets < keys }

    /// The refill during the longest round trip to the store, in units.
    var roundTripUnits: Int64 {
        let units = 2e-3 * Double(latencyMicroseconds.upperBound) * Double(limit.refillUnitsPerMillisecond)
        return Int64(min(units, 1e17))
    }

    /// Returns a small world with random settings drawn from the seed, for sweeps over many seeds.
    package static func small(seed: UInt64, faults: FaultKind) throws(LimitError) -> WorldSettings {
        var random = SeededRandom(seed: seed, purpose: 1)
        let capacities = [5, 20, 100, 300, 1000]
        let capacity = random.pick(capacities)
        let refill = random.pick([10.0, 40, 100, 300, 600])
        let limit = try Limit(capacity: capacity, refillPerSecond: refill)
        var settings = WorldSettings(seed: seed, limit: limit, workload: random.pick(WorkloadKind.allCases))
        settings.faults = faults
        settings.faultGapMilliseconds = random.pick([5...250, 50...1000, 300...2000])
        settings.servers = random.number(1...5)
        settings.nodes = random.number(1...3)
        settings.keys = random.number(1...3)
        settings.load *= random.pick([0.3, 1, 2])
        settings.durationMilliseconds = 2500
        settings.recoveryMilliseconds = 4000
        settings.periodMilliseconds = 1000
        settings.latencyMicroseconds = random.pick([50...400, 200...2000, 1000...20_000])
        settings.driftPartsPerMillion = 19_000
        settings.limiter.failurePolicy = random.chance(0.5) ? .open : .closed
        settings.limiter.maximumBuckets = random.chance(0.1) ? 1 : 1000
        settings.limiter.lease.durationMilliseconds = random.pick([400, 700, 1000])
        settings.limiter.lease.horizonMilliseconds = random.pick([50, 100, 200])
        settings.limiter.lease.idleMilliseconds = random.pick([30, 100, 300])
        settings.limiter.lease.prefetchMilliseconds = random.pick([0, 5, 20])
        settings.limiter.lease.minimumDemandTokens = random.pick([1, 3, 8])
        settings.limiter.lease.soloMultiplier = random.pick([1, 2, 4])
        settings.limiter.lease.callsPerSecond = random.pick([200, 200, 40])
        return settings
    }
}
