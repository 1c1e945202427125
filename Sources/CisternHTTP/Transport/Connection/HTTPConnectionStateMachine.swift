internal import NIOCore

/// The life of one HTTP/1 connection: events in, actions out, without IO.
///
/// The owner reports each event, and performs the returned action. Times come in as arguments. `hasBufferedInput` tells
/// whether received bytes have not been parsed yet.
struct HTTPConnectionStateMachine {
    /// The time limits of a connection.
    struct Timeouts {
        /// For the rest of a request, from its first byte.
        let request: TimeAmount
        /// For the next request, and for the client to read the last response.
        let idle: TimeAmount
        /// For the limiter's decision; a safety limit, since the store timeout is much shorter.
        var decision = TimeAmount.seconds(60)
        /// For the client to close the connection after its last response.
        var linger = TimeAmount.seconds(1)
        /// For one more request of an idle client while the server drains.
        var drainGrace = TimeAmount.milliseconds(250)
    }

    enum State: Equatable {
        /// Between two requests.
        case idle
        /// Part of a request has arrived.
        case receiving
        /// The request waits for its decision.
        case deciding
        /// The last response is being written; input is discarded.
        case lingering
        /// The last response is in the socket; the client is to close.
        case flushed
    }

    private(set) var state = State.idle
    /// When ``expire(now:hasBufferedInput:hasUnreadInput:)`` must be called, unless a later event moves it.
    private(set) var expiresAt: NIODeadline
    private let timeouts: Timeouts
    /// When the current request arrived; if its body arrived after its head, when the head arrived.
    private var startedAt = NIODeadline.distantPast
    private var hasPendingRead = false
    /// Requests are being parsed; a response that is written meanwhile may report events before the parsing ends.
    private var isParsing = false
    private var isWritable = true
    /// The next response is the last: the server drains, or the connection is too old.
    private var closesAfterResponse = false
    private var isInputClosed = false

    init(timeouts: Timeouts, now: NIODeadline) {
        self.timeouts = timeouts
        expiresAt = now + timeouts.idle
    }

    /// Whether requests are parsed: false while a request waits for its decision, and after the last response.
    var acceptsRequests: Bool { state == .idle || state == .receiving }

    // MARK: Requests

    /// Whether further requests may be parsed although responses wait to be read by the client.
    var mayParseMore: Bool { isWritable }

    mutating func beginParsing() { isParsing = true }

    mutating func endParsing() { isParsing = false }

    /// The first part of a request has arrived.
    mutating func requestBegan(now: NIODeadline) {
        guard state == .idle else { return }
        state = .receiving
        startedAt = now
        expiresAt = now + timeouts.request
    }

    /// More of a head has arrived: the request's duration counts from the last part of the head.
    mutating func headContinued(now: NIODeadline) { startedAt = now }

    /// A complete request has arrived.
    mutating func requestArrived(now: NIODeadline) {
        if state == .idle { startedAt = now }
    }

    /// The request waits for its decision.
    mutating func decisionPending(now: NIODeadline) {
        state = .deciding
        expiresAt = now + timeouts.decision
    }

    /// The decision has come; returns whether a request waits for it.
    mutating func decided(hasBufferedInput: Bool) -> Bool {
        guard state == .deciding else { return false }
        // Nothing can follow on a half-closed connection.
        if isInputClosed, !hasBufferedInput { closesAfterResponse = true }
        return true
    }

    // MARK: Responses

    /// Whether the connection stays open after a response whose request allows it.
    func keepsAlive(_ isAllowed: Bool, isDraining: Bool) -> Bool {
        isAllowed && !closesAfterResponse && !isDraining
    }

    /// A response has been written; returns how long its request took, in nanoseconds.
    mutating func responded(now: NIODeadline) -> Int64 {
        expiresAt = now + timeouts.idle
        return (now - startedAt).nanoseconds
    }

    /// The response leaves the connection open.
    mutating func becameIdle() { state = .idle }

    // MARK: Closing

    enum CloseAction: Equatable {
        case none
        /// Write what is left, and report ``flushed(now:)`` afterwards.
        case flushLastResponse
        case close
    }

    /// Begins to close the connection, in two steps.
    ///
    /// Closing at once would discard unsent bytes, and a client that is still sending could not read the response.
    mutating func linger(now: NIODeadline) -> CloseAction {
        switch state {
        case .flushed: return .close
        case .lingering: return .none
        case .idle, .receiving, .deciding:
            state = .lingering
            expiresAt = now + timeouts.idle
            return .flushLastResponse
        }
    }

    enum FlushedAction: Equatable {
        case close
        case closeOutput
    }

    /// The last byte is in the socket: closes the sending side, and gives the client time to close.
    mutating func flushed(now: NIODeadline) -> FlushedAction {
        state = .flushed
        if isInputClosed { return .close }
        expiresAt = now + timeouts.linger
        return .closeOutput
    }

    /// The client has closed its sending side.
    mutating func inputClosed() { isInputClosed = true }

    /// Whether a half-closed connection is to be closed: every request that arrived has been processed.
    func mustCloseHalfClosed(hasBufferedInput: Bool) -> Bool {
        guard isInputClosed, state != .deciding else { return false }
        return isWritable || !acceptsRequests || !hasBufferedInput
    }

    /// The server drains; returns whether ``expiresAt`` has moved to an earlier time.
    mutating func drain(now: NIODeadline, hasBufferedInput: Bool) -> Bool {
        closesAfterResponse = true
        return beginDrainGrace(now: now, hasBufferedInput: hasBufferedInput)
    }

    /// The connection has reached its maximum age.
    mutating func reachedMaximumAge() { closesAfterResponse = true }

    private mutating func beginDrainGrace(now: NIODeadline, hasBufferedInput: Bool) -> Bool {
        guard state == .idle, isWritable, !hasBufferedInput else { return false }
        expiresAt = min(expiresAt, now + timeouts.drainGrace)
        return true
    }

    // MARK: Reading and writing

    /// The channel asks to read; returns whether to read now.
    ///
    /// If the result is false, the read is pending. Most clients send nothing while their request waits for its
    /// decision. Reading is not paused for them, because pausing and resuming costs two system calls.
    mutating func read(hasBufferedInput: Bool) -> Bool {
        let isPaused = !isWritable || state == .deciding && hasBufferedInput
        if isPaused { hasPendingRead = true }
        return !isPaused
    }

    /// Returns whether a read is pending and forgets it: the owner must then request the read again.
    mutating func takePendingRead() -> Bool {
        defer { hasPendingRead = false }
        return hasPendingRead
    }

    struct WritabilityActions: Equatable {
        /// Parse the buffered requests.
        var processesBuffered = false
        /// ``expiresAt`` has moved to an earlier time.
        var reschedules = false
    }

    /// The client has begun or ceased to read its responses.
    mutating func writabilityChanged(
        to isWritable: Bool, now: NIODeadline, hasBufferedInput: Bool
    ) -> WritabilityActions {
        self.isWritable = isWritable
        return WritabilityActions(
            processesBuffered: isWritable && !isParsing && hasBufferedInput && acceptsRequests,
            reschedules: closesAfterResponse && beginDrainGrace(now: now, hasBufferedInput: hasBufferedInput))
    }

    // MARK: Time

    enum ExpiryAction: Equatable {
        case none
        /// Answer that the request took too long, and close.
        case refuseSlowRequest
        case linger
        case close
    }

    /// Returns the action that is due at `now`: none before ``expiresAt``.
    ///
    /// - Parameter hasUnreadInput: whether the socket holds bytes that have not been read.
    mutating func expire(
        now: NIODeadline, hasBufferedInput: Bool, hasUnreadInput: () -> Bool
    ) -> ExpiryAction {
        guard now >= expiresAt else { return .none }
        switch state {
        case .idle:
            // A client that reads nothing would never read a last response.
            guard isWritable, !hasBufferedInput else { return .close }
            guard hasUnreadInput() else { return .linger }
            // The request in the socket is read within milliseconds, and is answered.
            expiresAt = now + .milliseconds(1)
            return .none
        case .receiving: return .refuseSlowRequest
        case .deciding, .lingering, .flushed: return .close
        }
    }
}
