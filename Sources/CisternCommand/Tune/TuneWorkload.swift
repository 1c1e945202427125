internal import Cistern
internal import CisternSimulation

/// What settings are searched for: a fleet and what comes to it.
struct TuneWorkload: Sendable {
    /// One figure of it, as it is shown, and where it came from.
    struct Figure: Encodable, Sendable, Equatable {
        let name: String
        let value: String
        let source: String
    }

    var servers: Int
    var organizations: Int
    /// Zipf's exponent over organizations; 0 for all alike.
    var skew: Double
    var limit: Limit
    /// In multiples of what the buckets refill.
    var load: Double
    var roundTripMilliseconds: Double
    var kind: WorkloadKind
    /// Store calls a second that all servers together may make; nil where that does not matter.
    var budget: Double?
    /// Redis nodes that carry the store calls.
    var nodes = 1
    var figures: [Figure] = []
    /// What should be known about the figures beside where they came from.
    var notes: [String] = []
}
