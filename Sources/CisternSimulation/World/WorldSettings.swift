package import Cistern
internal import CisternSupport

/// Which limiter the servers of a world run.
package enum Policy: String, Sendable, CaseIterable {
    /// Leases by demand: what Cistern does.
    case cistern
    /// Counts locally and settles with the store every 100 ms, as some rivals do.
    case writeBehind = "write-behind"
    /// Leases of 50 tokens, whatever the demand.
    case fixedLease = "fixed-lease"
    /// Asks the store for each request.
    case perRequest = "per-request"
}

/// What goes wrong in a world.
package enum FaultKind: String, Sendable, CaseIterable {
    case none
    /// Loss, duplicates, reordering, slow spells and partitions.
    case network
    /// Servers and nodes that crash, hang or forget, clocks that drift, organizations that move.
    case crash
    /// Stores' clocks that step forward and back.
    case clock
    case all

    /// Whether machines or the network fail.
    var isAnything: Bool { breaksNetwork || breaksMachines }
    var breaksNetwork: Bool { self == .network || self == .all }
    package var breaksMachines: Bool { self == .crash || self == .all }
}

/// Everything that a world is made from; equal settings make equal worlds.
package struct WorldSettings: Sendable {
    package var seed: UInt64
    package var servers = 8
    package var nodes = 1
    package var keys = 1
    /// How much each organization is asked for, and for how many it stands; nil for what the workload says, and for itself.
    ///
    /// It has as many groups as there are organizations.
    package var population: Population?
    package var limit: Limit
    package var limiter = LimiterSettings()
    package var policy = Policy.cistern
    package var workload = WorkloadKind.even
    /// Load over time, in multiples of what the buckets refill.
    package var load: Double
    /// How long it takes for what changes over time in a workload to come round again, in milliseconds.
    package var periodMilliseconds: Int64 = 5000
    package var faults = FaultKind.none
    /// The shortest and the longest time from one fault to the next, in milliseconds.
    package var faultGapMilliseconds: ClosedRange<Int64> = 50...1000
    /// How long the workload and the faults last.
    package var durationMilliseconds: Int64 = 30_000
    /// How long a light load goes on after that, without faults, to see everything come back to life; 0 for not.
    package var recoveryMilliseconds: Int64 = 0
    /// The shortest and the longest time that a message takes, in microseconds.
    package var latencyMicroseconds: ClosedRange<Int64> = 200...800
    /// Servers' clocks run faster or slower than the stores' by up to this, in parts per million.
    package var driftPartsPerMillion: Int64 = 0

    package init(seed: UInt64, limit: Limit, workload: WorkloadKind = .even) {
        self.seed = seed
        self.limit = limit
        self.workload = workload
        load = workload.standardLoad
    }

    /// What the world is made of, in a line.
    package var summary: String {
        let lease = limiter.lease
        return """
            \(servers) servers, \(nodes) nodes, \(keys) organizations of \(limit.capacity) tokens and \
            \(limit.refillPerSecond)/s, \(workload.rawValue) at \(load) times that, latency \
            \(latencyMicroseconds.lowerBound)..\(latencyMicroseconds.upperBound) µs, a fault every \
            \(faultGapMilliseconds.lowerBound)..\(faultGapMilliseconds.upperBound) ms, \
            \(limiter.failurePolicy.rawValue) on failure, lease \(lease.durationMilliseconds) ms, horizon \
            \(lease.horizonMilliseconds) ms, idle \(lease.idleMilliseconds) ms, prefetch \
            \(lease.prefetchMilliseconds) ms, minimum \(lease.minimumTokens), alone \(lease.soloMultiplier)
            """
    }

    /// About how many requests will come.
    package var expectedRequests: Double {
        let tokens =
            limit.refillPerSecond * (population?.totalLoad ?? Double(keys)) * load
            * Double(durationMilliseconds) / 1000
        return tokens * 2 / Double(1 + workload.highestCost)
    }

    /// How many organizations one of them stands for.
    func count(of key: Int) -> Int { population?.groups[key].count ?? 1 }

    /// How many organizations the figures are for.
    var representedKeys: Int { population?.keys ?? keys }

    /// Whether servers have no memory for all organizations, and turn some away for that.
    var isNearCapacity: Bool { limiter.maximumBuckets < keys }

    /// What flows into a bucket while a message goes to the store and back, at the slowest.
    var roundTripMicrotokens: Int64 {
        let microtokens = 2e-3 * Double(latencyMicroseconds.upperBound) * Double(limit.refillMicrotokensPerMillisecond)
        return Int64(min(microtokens, 1e17))
    }

    /// A small world for a seed, drawn from everything that may vary: the world of a sweep over many seeds.
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
        settings.limiter.lease.minimumTokens = random.pick([1, 3, 8])
        settings.limiter.lease.soloMultiplier = random.pick([1, 2, 4])
        return settings
    }
}
