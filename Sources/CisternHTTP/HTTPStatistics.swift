package import Cistern

/// Requests answered and how long they took, by route and status, since the start.
package struct HTTPStatistics: Sendable {
    /// How many answers of each status, in the order of `Status.allCases`, for one route.
    private struct Row: Sendable {
        var counts = InlineArray<15, UInt64>(repeating: 0)
        var durations = LatencyHistogram()
    }

    private var rows = InlineArray<5, Row>(repeating: Row())

    package init() {
        precondition(Status.allCases.count == 15 && Route.allCases.count == 5, "a place for each status and route")
    }

    mutating func count(_ route: Route, _ status: Status, nanoseconds: Int64) {
        rows[route.rawValue].counts[Self.position[status.rawValue - 200]] &+= 1
        rows[route.rawValue].durations.record(nanoseconds: nanoseconds)
    }

    /// Where each status stands in the counts, by code less 200.
    private static let position: [Int] = {
        var position = [Int](repeating: 0, count: 400)
        for (index, status) in Status.allCases.enumerated() { position[status.rawValue - 200] = index }
        return position
    }()

    /// Every route and status that was answered, with its count.
    package var requests: [(route: Route, status: Status, count: UInt64)] {
        Route.allCases.flatMap { route in
            Status.allCases.enumerated().map { (route, $1, rows[route.rawValue].counts[$0]) }.filter { $0.2 > 0 }
        }
    }

    /// How long a route's requests took, from their head to their answer.
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
