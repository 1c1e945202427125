/// The stages by which a rate limiter grows, as the reference architecture draws them.
enum Tier: String, CaseIterable, Sendable {
    /// GET, GET, SET, SET for each request, at one Redis.
    case reference
    /// One atomic script call for each request, pipelined, at one Redis.
    case single
    /// The same at three nodes of a ring.
    case cluster
    /// Leases, from one Redis.
    case cache
    /// Leases, from three nodes of a ring.
    case clusterAndCache = "cluster + cache"

    /// How a request comes in.
    enum Door: String, CaseIterable, Sendable {
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

    /// What decides where there are no leases.
    var baseline: Baseline? {
        switch self {
        case .reference: .reference
        case .single, .cluster: .script
        case .cache, .clusterAndCache: nil
        }
    }

    /// Redis's commands that a decision may take.
    var commands: [String] { baseline?.commands ?? Baseline.script.commands }

    /// What the reference architecture says it gives: decisions a second.
    var referencePerSecond: Double {
        switch self {
        case .reference, .single: 10_000
        case .cluster: 100_000
        case .cache, .clusterAndCache: 50_000
        }
    }

    func rowName(_ door: Door) -> String { "\(rawValue), \(door.rawValue)" }
}
