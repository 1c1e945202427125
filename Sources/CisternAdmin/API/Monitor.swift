internal import Cistern
internal import Foundation
internal import Hummingbird
internal import NIOCore
internal import Synchronization

/// Looks at the server once a second, keeps what it sees, and tells those who listen.
///
/// However many ask, the server is looked at ten times a second at most: asking cannot slow its decisions.
final class Monitor: Sendable {
    private struct State {
        var history: SampleHistory
        var earlier: ServerSnapshot
        var secondsBetween = 1.0
        /// What was seen when somebody asked between two seconds.
        var recent: (snapshot: ServerSnapshot, at: Instant)
        var listeners: [Int: AsyncStream<ByteBuffer>.Continuation] = [:]
        var nextListener = 0
        var isStopped = false
    }

    /// How many may listen at once.
    static let maximumListeners = 64
    private static let freshMilliseconds: Int64 = 100
    private static let listCount = 10

    private let operations: any Operations
    private let clock: any TimeSource
    private let state: Mutex<State>

    init(operations: any Operations, clock: any TimeSource) {
        self.operations = operations
        self.clock = clock
        let (snapshot, now) = (operations.snapshot(), clock.now())
        state = Mutex(
            State(
                history: SampleHistory(snapshot, at: now, unixMilliseconds: Self.unixMilliseconds), earlier: snapshot,
                recent: (snapshot, now)))
    }

    private static var unixMilliseconds: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

    /// Looks once a second, until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { tick() }
        }
    }

    private func tick() {
        let (snapshot, now) = (operations.snapshot(), clock.now())
        let hasListeners = state.withLock { state in
            state.earlier = state.history.last.snapshot
            state.secondsBetween = Double(now.nanoseconds - state.history.last.at.nanoseconds) / 1_000_000_000
            state.history.add(snapshot, at: now, unixMilliseconds: Self.unixMilliseconds)
            state.recent = (snapshot, now)
            return !state.listeners.isEmpty
        }
        guard hasListeners, let status = try? Self.event("status", status),
            let busiest = try? Self.event("busiest", Busiest(operations, most: Self.listCount))
        else { return }
        for listener in state.withLock({ Array($0.listeners.values) }) {
            listener.yield(status)
            listener.yield(busiest)
        }
    }

    // MARK: What is known

    /// The server as it is now, or was a tenth of a second ago.
    var snapshot: ServerSnapshot {
        let now = clock.now()
        let recent = state.withLock { $0.recent }
        if now.milliseconds - recent.at.milliseconds < Self.freshMilliseconds { return recent.snapshot }
        let snapshot = operations.snapshot()
        state.withLock { $0.recent = (snapshot, now) }
        return snapshot
    }

    var metrics: String { MetricsPage.text(snapshot) }

    /// The server as it is now, and what the last whole second was like.
    var status: Document.Status {
        let snapshot = snapshot
        let (earlier, last, seconds, sample) = state.withLock {
            ($0.earlier, $0.history.last.snapshot, $0.secondsBetween, $0.history.latest)
        }
        let nodes = snapshot.nodes.map { node in
            var node = node
            // State and reason as they are now; rates over the last whole second.
            let isUp = node.isUp
            if let whole = last.nodes.first(where: { $0.name == node.name }) {
                node.latency = whole.latency
                node.isUp = isUp
            }
            return Document.Node(node, since: earlier.nodes.first { $0.name == node.name }, seconds: seconds)
        }
        return Document.Status(snapshot, nodes: nodes, sample: sample)
    }

    // MARK: Events

    private struct Busiest: Encodable {
        let allowed: [Document.Busy]
        let denied: [Document.Busy]
        let shadowDenied: [Document.Busy]

        init(_ operations: any Operations, most: Int) {
            allowed = operations.busiest(most, by: .allowed).map { Document.Busy($0) }
            denied = operations.busiest(most, by: .denied).map { Document.Busy($0) }
            shadowDenied = operations.busiest(most, by: .shadowDenied).map { Document.Busy($0) }
        }
    }

    /// One server-sent event.
    private static func event(_ name: String, _ value: some Encodable) throws -> ByteBuffer {
        var buffer = ByteBuffer(string: "event: \(name)\ndata: ")
        buffer.writeImmutableBuffer(try JSONText.encode(value))
        buffer.writeString("\n\n")
        return buffer
    }

    /// A stream of events: what has been, and then what is, once a second.
    func events() throws -> Response {
        // One that does not keep up misses seconds; it does not make them pile up here.
        let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self, bufferingPolicy: .bufferingNewest(4))
        let samples = state.withLock { $0.history.samples }
        continuation.yield(try Self.event("history", samples))
        continuation.yield(try Self.event("status", status))
        continuation.yield(try Self.event("busiest", Busiest(operations, most: Self.listCount)))
        let listener: Int? = state.withLock { state in
            guard !state.isStopped, state.listeners.count < Self.maximumListeners else { return nil }
            state.nextListener += 1
            state.listeners[state.nextListener] = continuation
            return state.nextListener
        }
        guard let listener else {
            throw Problem(
                .serviceUnavailable, "\(Self.maximumListeners) listen already, or the server stops: close one of them")
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.listeners.removeValue(forKey: listener) }
        }
        let body = ResponseBody { writer in
            for await event in stream { try await writer.write(event) }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
    }

    /// Ends every stream of events.
    func stop() {
        let listeners = state.withLock { state in
            state.isStopped = true
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.finish() }
    }
}
