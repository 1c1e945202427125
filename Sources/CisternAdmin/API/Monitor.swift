internal import Cistern
internal import CisternSupport
internal import Foundation
internal import Hummingbird
internal import NIOCore
internal import Synchronization

/// Takes a snapshot of the server once a second, keeps the samples, and sends events to the open streams.
///
/// All requests share one snapshot per 100 ms, so that polling cannot slow the server's decisions.
final class Monitor: Sendable {
    private struct State {
        var history: SampleHistory
        var earlier: ServerSnapshot
        var secondsBetweenTicks = 1.0
        /// The latest snapshot, from a tick or a request.
        var recent: (snapshot: ServerSnapshot, at: Instant)
        var streams: [Int: EventStream] = [:]
        var lastStreamNumber = 0
        /// The tokens that were accepted at the last tick.
        var tokens: AdminTokens?
        var isStopped = false
    }

    /// One event stream.
    private struct EventStream {
        let continuation: AsyncStream<ByteBuffer>.Continuation
        /// The number of consecutive events that the stream has dropped.
        var dropped = 0
    }

    /// The maximum number of event streams.
    static let maximumStreams = 64
    private static let snapshotMaximumAgeMilliseconds: Int64 = 100
    private static let topOrganizationCount = 10
    /// The number of consecutive dropped events after which a stream is ended.
    private static let maximumDropped = 20

    private let operations: any Operations
    private let clock: any TimeSource
    private let tokens: @Sendable () -> AdminTokens?
    private let state: Mutex<State>

    init(operations: any Operations, tokens: @escaping @Sendable () -> AdminTokens?, clock: any TimeSource) {
        self.operations = operations
        self.tokens = tokens
        self.clock = clock
        let (snapshot, now) = (operations.snapshot(), clock.now())
        state = Mutex(
            State(
                history: SampleHistory(snapshot, at: now, unixMilliseconds: Self.unixMilliseconds), earlier: snapshot,
                recent: (snapshot, now), tokens: tokens()))
    }

    private static var unixMilliseconds: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }

    /// Takes a snapshot once a second, until the task is canceled.
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
            state.secondsBetweenTicks = Double(now.nanoseconds - state.history.last.at.nanoseconds) / 1_000_000_000
            state.history.add(snapshot, at: now, unixMilliseconds: Self.unixMilliseconds)
            let unmetered = snapshot.limiter.decisions.unmetered &- state.earlier.limiter.decisions.unmetered
            if unmetered > 0 { operations.noteUnmetered(unmetered) }
            state.recent = (snapshot, now)
            endStreams(in: &state, ifChanged: tokens())
            return !state.streams.isEmpty
        }
        guard hasListeners, let status = try? Self.event("status", status),
            let topOrganizations = try? Self.event("busiest", Busiest(operations, most: Self.topOrganizationCount))
        else { return }
        for (number, listener) in state.withLock({ $0.streams }) {
            for event in [status, topOrganizations] { send(event, to: listener.continuation, number) }
        }
    }

    /// Sends an event to a stream; ends a stream whose client does not read, to free its place.
    private func send(_ event: ByteBuffer, to stream: AsyncStream<ByteBuffer>.Continuation, _ number: Int) {
        var isDropped = false
        if case .dropped = stream.yield(event) { isDropped = true }
        let dropped = state.withLock { state in
            let dropped = isDropped ? (state.streams[number]?.dropped ?? 0) + 1 : 0
            state.streams[number]?.dropped = dropped
            return dropped
        }
        if dropped >= Self.maximumDropped { stream.finish() }
    }

    /// Ends all streams if the tokens have changed.
    private func endStreams(in state: inout State, ifChanged tokens: AdminTokens?) {
        guard tokens != state.tokens else { return }
        state.tokens = tokens
        let streams = state.streams.values.map(\.continuation)
        state.streams.removeAll()
        // Outside the lock: a stream's termination handler takes it.
        Task { for stream in streams { stream.finish() } }
    }

    // MARK: Current state

    /// The state of the server, at most 100 ms old.
    var snapshot: ServerSnapshot {
        let now = clock.now()
        let recent = state.withLock { $0.recent }
        if now.milliseconds - recent.at.milliseconds < Self.snapshotMaximumAgeMilliseconds { return recent.snapshot }
        let snapshot = operations.snapshot()
        state.withLock { $0.recent = (snapshot, now) }
        return snapshot
    }

    var metrics: String { MetricsPage.text(snapshot) }

    /// The state of the server, with the sample of the last whole second.
    var status: Document.Status {
        let snapshot = snapshot
        let (earlier, last, seconds, sample) = state.withLock {
            ($0.earlier, $0.history.last.snapshot, $0.secondsBetweenTicks, $0.history.latest)
        }
        let nodes = snapshot.nodes.map { node in
            // State and reason are current; rates are over the last whole second.
            var node = node
            if let whole = last.nodes.first(where: { $0.name == node.name }) { node.latency = whole.latency }
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
            allowed = operations.topOrganizations(most, by: .allowed).map { Document.Busy($0) }
            denied = operations.topOrganizations(most, by: .denied).map { Document.Busy($0) }
            shadowDenied = operations.topOrganizations(most, by: .shadowDenied).map { Document.Busy($0) }
        }
    }

    /// One server-sent event.
    private static func event(_ name: String, _ value: some Encodable) throws -> ByteBuffer {
        var buffer = ByteBuffer(string: "event: \(name)\ndata: ")
        buffer.writeImmutableBuffer(try JSONText.encode(value))
        buffer.writeString("\n\n")
        return buffer
    }

    /// Opens an event stream: the history first, then the current state once a second.
    func events() throws -> Response {
        // A slow client loses the oldest events; memory stays bounded.
        let (stream, continuation) = AsyncStream.makeStream(of: ByteBuffer.self, bufferingPolicy: .bufferingNewest(4))
        let samples = state.withLock { $0.history.samples }
        let first = [
            try Self.event("history", samples), try Self.event("status", status),
            try Self.event("busiest", Busiest(operations, most: Self.topOrganizationCount)),
        ]
        let listener: Int? = state.withLock { state in
            guard !state.isStopped, state.streams.count < Self.maximumStreams else { return nil }
            state.lastStreamNumber += 1
            state.streams[state.lastStreamNumber] = EventStream(continuation: continuation)
            return state.lastStreamNumber
        }
        guard let listener else {
            throw Problem(
                .serviceUnavailable,
                "there are \(Self.maximumStreams) event streams already, or the server is stopping: close a stream")
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.streams.removeValue(forKey: listener) }
        }
        let body = ResponseBody { writer in
            for event in first { try await writer.write(event) }
            for await event in stream { try await writer.write(event) }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
    }

    /// Ends every event stream.
    func stop() {
        let streams = state.withLock { state in
            state.isStopped = true
            return Array(state.streams.values)
        }
        for listener in streams { listener.continuation.finish() }
    }
}
