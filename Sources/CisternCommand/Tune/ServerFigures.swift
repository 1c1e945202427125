internal import Cistern
internal import CisternCluster
internal import CisternServer
internal import Foundation

/// A running server's figures about its traffic, from its admin API.
struct ServerFigures: Sendable {
    /// The fields of `GET /v1/status` that are used here.
    struct Status: Decodable {
        struct Limit: Decodable {
            let capacity: Int
            let refill: String
        }

        struct Limits: Decodable {
            let organizations: Int
            let overrides: Int
        }

        struct Lease: Decodable {
            let horizonMilliseconds: Int64
            let durationMilliseconds: Int64
            let prefetchMilliseconds: Int64
        }

        struct Node: Decodable {
            struct Latency: Decodable { let p50: Double }

            let latencyMilliseconds: Latency?
        }

        struct Sample: Decodable {
            let allowed: Double
            let denied: Double
            let unmetered: Double
            let refused: Double

            var all: Double { allowed + denied + unmetered + refused }
        }

        let version: Int
        let store: String
        let organizations: Int
        let limit: Limit
        let limits: Limits?
        let lease: Lease
        let nodes: [Node]
        let sample: Sample
    }

    /// The fields of `GET /v1/organizations` that are used here.
    struct Busiest: Decodable {
        struct Entry: Decodable {
            let organization: String
            let perSecond: Double
            let errorPerSecond: Double
        }

        let organizations: [Entry]
    }

    /// The fields of `GET /v1/organizations/{org}` that are used here.
    struct Bucket: Decodable {
        struct Store: Decodable {
            let lessees: [LesseeRecord]
        }

        let store: Store?
    }

    let capacity: Int
    let refill: String
    let lease: Status.Lease
    /// Organizations in memory.
    let organizations: Int
    /// Organizations with a limit in the limits file or an override.
    let limitsOfTheirOwn: Int
    /// Requests a second at this server.
    let demandPerSecond: Double
    /// Zipf exponent of the organizations' demand; nil if too few are busy to estimate it.
    let skew: Double?
    /// Median latency of the slowest node.
    let roundTripMilliseconds: Double?
    /// Number of servers that lease for the busiest organization; nil if unknown.
    let lessees: Int?
    /// Number of Redis nodes.
    let nodes: Int

    /// - Parameters:
    ///   - allowed: the organizations with the most allowed requests.
    ///   - denied: the organizations with the most denied requests.
    ///   - bucket: the bucket of the busiest organization.
    init(_ status: Status, allowed: Busiest, denied: Busiest, bucket: Bucket?) {
        capacity = status.limit.capacity
        refill = status.limit.refill
        lease = status.lease
        let rates = Self.rates(allowed: allowed, denied: denied)
        organizations = max(status.organizations, rates.count)
        limitsOfTheirOwn = status.limits.map { $0.organizations + $0.overrides } ?? 0
        demandPerSecond = status.sample.all
        skew = Self.skew(of: rates)
        nodes = status.nodes.count
        roundTripMilliseconds = status.nodes.compactMap { $0.latencyMilliseconds?.p50 }.filter { $0 > 0 }.max()
        lessees = bucket?.store.flatMap { $0.lessees.isEmpty ? nil : $0.lessees.count }
    }

    /// Requests a second of the busiest organizations, in descending order, without counts that are mostly error.
    static func rates(allowed: Busiest, denied: Busiest) -> [Double] {
        let sure = { (list: Busiest) in
            list.organizations.filter { $0.perSecond > 0 && $0.errorPerSecond * 2 <= $0.perSecond }
                .map { ($0.organization, $0.perSecond) }
        }
        let rates = Dictionary(sure(allowed), uniquingKeysWith: max)
            .merging(Dictionary(sure(denied), uniquingKeysWith: max)) { $0 + $1 }
        return rates.values.sorted(by: >)
    }

    /// Fits Zipf's exponent to rates in descending order, by least squares of log(rate) over log(rank).
    ///
    /// - Returns: 0 to 3 in steps of 0.05; nil for fewer than five rates. A fit below 0.1 is returned as 0, because
    ///   chance alone can produce it.
    static func skew(of rates: [Double]) -> Double? {
        guard rates.count >= 5 else { return nil }
        let points = rates.enumerated().map { (x: log(Double($0.offset + 1)), y: log($0.element)) }
        let count = Double(points.count)
        let mean = (x: points.reduce(0) { $0 + $1.x } / count, y: points.reduce(0) { $0 + $1.y } / count)
        let covariance = points.reduce(0) { $0 + ($1.x - mean.x) * ($1.y - mean.y) }
        let variance = points.reduce(0) { $0 + ($1.x - mean.x) * ($1.x - mean.x) }
        let slope = min(3, max(0, -covariance / variance))
        return slope < 0.1 ? 0 : (slope * 20).rounded() / 20
    }
}
