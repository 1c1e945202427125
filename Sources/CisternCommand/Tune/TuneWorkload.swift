internal import Cistern
internal import CisternSimulation

/// The workload to tune for: a fleet and its traffic.
struct TuneWorkload: Sendable {
    /// One figure of the workload, as it is shown, with its source.
    struct Figure: Encodable, Sendable, Equatable {
        let name: String
        let value: String
        let source: String
    }

    var servers: Int
    var organizations: Int
    /// Zipf exponent of the organizations' demand; 0 for equal demand.
    var skew: Double
    var limit: Limit
    /// Load in multiples of the buckets' refill rate.
    var load: Double
    var roundTripMilliseconds: Double
    var kind: WorkloadKind
    /// Store calls a second that all servers together may make; nil for no limit.
    var budget: Double?
    /// Number of Redis nodes that serve the store calls.
    var nodes = 1
    var figures: [Figure] = []
    /// Remarks about the figures, besides their sources.
    var notes: [String] = []
}
