package import Cistern

/// Request counts by route and status, and request durations by route, since the start.
package struct HTTPStatistics: Sendable {
    /// One route's response counts, in the order of `Status.allCases`, and its request durations.
    private struct Row: Sendable {
        var counts = InlineArray<15, UInt64>(repeating: 0)
        var durations = LatencyHistogram()
    }

    private var rows = InlineArray<5, Row>(repeating: Row())

    package init() {
        precondition(Status.allCases.count == 15 && Route.allCases.count == 5, "resize the arrays for the new cases")
    }

    mutating func count(_ route: Route, _ status: Status, nanoseconds: Int64) {
        rows[route.rawValue].counts[Self.position[status.rawValue - 200]] &+= 1
        rows[route.rawValue].durations.record(nanoseconds: nanoseconds)
    }

    /// Maps a status code minus 200 to its index in the counts.
    private static let position: [Int] = {
        var position = [Int](repeating: 0, count: 400)
        for (index, status) in Status.allCases.enumerated() { position[status.rawValue - 200] = index }
        return position
    }()

    /// The number of responses by route and status, without zeros.
    package var requests: [(route: Route, status: Status, count: UInt64)] {
        Route.allCases.flatMap { route in
            Status.allCases.enumerated().map { (route, $1, rows[route.rawValue].counts[$0]) }.filter { $0.2 > 0 }
        }
    }

    /// The durations of a route's requests, from the request's head to its response.
    package func durations(of route: Route) -> LatencyHistogram {
        rows[route.rawValue].durations
    }

    package static func += (sum: inout HTTPStatistics, other: HTTPStatistics) {
        for route in Route.allCases {
            for index in Status.allCases.indices {
                sum.rows[route.rawValue].counts[index] &+= other.rows[route.rawValue].counts[index]
            }
            sum.rows[route.rawValue].durations += other.rows[route.rawValue].durations
        }
    }
}
