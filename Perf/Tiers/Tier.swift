/// The stages in which a rate limiter grows, according to the reference architecture, which Cistern replaces.
enum Tier: String, CaseIterable, Sendable {
    /// GET, GET, SET, SET for each request, at one Redis.
    case reference
    /// One atomic script call for each request, pipelined, at one Redis.
    case single
    /// The same with a ring of three nodes.
    case cluster
    /// Leases, from one Redis.
    case cache
    /// Leases, from a ring of three nodes.
    case clusterAndCache = "cluster + cache"

    /// The interface through which a request arrives.
    enum Interface: String, CaseIterable, Sendable {
        /// By a call in the same process.
        case library
        case http = "HTTP"
    }

    var nodes: Int {
        switch self {
        case .reference, .single, .cache: 1
        case .cluster, .clusterAndCache: 3
        }
    }

    /// The algorithm of a tier without leases; nil for a tier with leases.
    var baseline: Baseline? {
        switch self {
        case .reference: .reference
        case .single, .cluster: .script
        case .cache, .clusterAndCache: nil
        }
    }

    /// The Redis commands that a decision may need.
    var commands: [String] { baseline?.commands ?? Baseline.script.commands }

    /// The throughput that the reference architecture states for it, in decisions per second.
    var referencePerSecond: Double {
        switch self {
        case .reference, .single: 10_000
        case .cluster: 100_000
        case .cache, .clusterAndCache: 50_000
        }
    }

    func rowName(_ interface: Interface) -> String { "\(rawValue), \(interface.rawValue)" }
}
