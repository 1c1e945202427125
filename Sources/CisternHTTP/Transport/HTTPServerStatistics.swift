package import Cistern
package import CisternSupport
package import NIOCore
internal import Synchronization

/// The counts of one ``HTTPServer``; any thread may read them, also before the server exists.
package final class HTTPServerStatistics: Sendable {
    /// The counts of each event loop, in the order of the group.
    let loops: [LoopContext.Statistics]
    let connections = Atomic(0)
    let refusedConnections = Atomic<UInt64>(0)
    let acceptFailures = Atomic<UInt64>(0)

    /// - Parameter group: the event loops that the server will use.
    package init(group: any EventLoopGroup) {
        loops = group.makeIterator().map { _ in LoopContext.Statistics() }
    }

    /// All requests since the server started, summed over the event loops.
    package var requests: HTTPStatistics {
        var sum = HTTPStatistics()
        for loop in loops { sum += loop.mutex.withLock { $0.requests } }
        return sum
    }

    /// The event-loop lag: the delay of a task that each loop runs ten times a second.
    package var lag: LatencyHistogram {
        var sum = LatencyHistogram()
        for loop in loops { sum += loop.mutex.withLock { $0.lag } }
        return sum
    }

    /// The organizations with the most decisions of one kind, busiest first; at most `most` of them.
    package func topOrganizations(_ most: Int, by kind: DecisionKind, now: Instant) -> [SpaceSavingSketch.Entry] {
        SpaceSavingSketch.top(
            most, of: loops.map { loop in loop.mutex.withLock { $0.topOrganizations[kind] } },
            second: now.milliseconds / 1000)
    }

    /// Connections open now.
    package var connectionCount: Int { connections.load(ordering: .relaxed) }

    /// Connections rejected with 503 since the start, because `maximumConnections` were open.
    package var refusedConnectionCount: UInt64 { refusedConnections.load(ordering: .relaxed) }

    /// Failed accepts since the start, usually for lack of file descriptors or memory.
    package var acceptFailureCount: UInt64 { acceptFailures.load(ordering: .relaxed) }
}
