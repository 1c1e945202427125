internal import Cistern
internal import DequeModule
internal import NIOCore

/// One pipelined connection to a node: replies are matched to commands in order.
///
/// Commands written in one turn of the event loop are sent in one write. Each command has a deadline. A late command
/// fails alone, and a probe is sent. The connection ends if a vital command is late: the probe, or a command sent with
/// `closesConnectionOnTimeout`. In every case each command is completed once, and `ended` is called once with the
/// reason. The handler runs on its channel's event loop.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Why a command has no reply.
    enum Failure: Error, Equatable {
        case timedOut
        case closed
        case overloaded
    }

    typealias Completion = (Result<RESPReply, Failure>) -> Void

    private struct Pending {
        let deadline: NIODeadline
        let sentAt: NIODeadline
        let closesConnectionOnTimeout: Bool
        /// Nil once the command has failed: a reply that still arrives is ignored.
        var completion: Completion?
    }

    /// The minimum timeout of a probe.
    private static let shortestProbe = TimeAmount.milliseconds(100)

    /// How long after a command's deadline its reply is still accepted, so that the event loop can read once more.
    private static let lateReplyGrace = TimeAmount.milliseconds(1)

    private let maximumPending: Int
    private let ended: (RedisConnection, NodeFailure) -> Void
    private var reader: RESPReader?
    private var pending: Deque<Pending> = []
    /// Returns a command that tests whether the node still replies.
    ///
    /// If it returns nil, the connection ends when any command is late.
    var probe: () -> [[UInt8]]? = { nil }
    private var unsent = RESPCommandBuffer()
    private var isFlushDue = false
    private var deadlineCheck: Scheduled<Void>?
    /// The due time of `deadlineCheck`.
    private var deadlineCheckAt = NIODeadline.distantFuture
    private var context: ChannelHandlerContext?
    /// Whether the channel has become active; failures before that are reported by the code that connects.
    private var isOpen = false
    /// Whether the connection has ended, for any reason.
    private var hasEnded = false
    /// Why to close once no command waits for a reply; nil unless the connection is draining.
    private var drainReason: NodeFailure?

    /// Creates the handler of one connection.
    ///
    /// - Parameter maximumPending: how many commands may wait for replies; if more are sent, they fail immediately
    ///   unless they are vital.
    /// - Parameter ended: called once, with this connection and the reason why it ended.
    init(maximumPending: Int, ended: @escaping (RedisConnection, NodeFailure) -> Void) {
        self.maximumPending = maximumPending
        self.ended = ended
    }

    // MARK: Commands

    /// When a command was last sent.
    private(set) var lastSent = NIODeadline.uptimeNanoseconds(0)

    /// Sends one command; its completion is called once.
    ///
    /// - Parameter prefix: a command to send directly before it, whose reply is ignored; both are sent or neither.
    /// - Parameter closesConnectionOnTimeout: whether the command is vital: the connection closes if no reply arrives
    ///   by the deadline.
    func send(
        _ words: [[UInt8]], after prefix: [[UInt8]]? = nil, closesConnectionOnTimeout: Bool = false,
        deadline: NIODeadline,
        completion: @escaping (Result<RESPValue, Failure>) -> Void
    ) {
        send(
            after: prefix, closesConnectionOnTimeout: closesConnectionOnTimeout, deadline: deadline,
            completion: { completion($0.map(\.value)) }
        ) {
            $0.append(command: words)
        }
    }

    /// Sends one command that `write` serializes.
    func send(
        after prefix: [[UInt8]]? = nil, closesConnectionOnTimeout: Bool = false, deadline: NIODeadline,
        completion: @escaping Completion,
        write: (inout RESPCommandBuffer) -> Void
    ) {
        guard let context, !hasEnded, drainReason == nil else { return completion(.failure(.closed)) }
        let count = prefix == nil ? 1 : 2
        guard closesConnectionOnTimeout || pending.count + count <= maximumPending else {
            return completion(.failure(.overloaded))
        }
        if let prefix {
            unsent.append(command: prefix)
            pending.append(
                Pending(
                    deadline: deadline, sentAt: context.eventLoop.now, closesConnectionOnTimeout: false,
                    completion: { _ in }))
        }
        write(&unsent)
        pending.append(
            Pending(
                deadline: deadline, sentAt: context.eventLoop.now, closesConnectionOnTimeout: closesConnectionOnTimeout,
                completion: completion))
        if !isFlushDue {
            isFlushDue = true
            let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
            context.eventLoop.execute { loopBound.value.flush() }
        }
        if deadline < deadlineCheckAt { scheduleDeadlineCheck(at: deadline) }
    }

    private func flush() {
        isFlushDue = false
        guard let context, !unsent.bytes.isEmpty else { return }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: unsent.bytes)), promise: nil)
        unsent.removeAll()
        lastSent = context.eventLoop.now
    }

    private func scheduleDeadlineCheck(at deadline: NIODeadline) {
        guard let context else { return }
        deadlineCheck?.cancel()
        deadlineCheckAt = deadline
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadlineCheck = context.eventLoop.scheduleTask(deadline: deadline) {
            loopBound.value.checkDeadlines(isGracePeriodOver: false)
        }
    }

    private func checkDeadlines(isGracePeriodOver: Bool) {
        deadlineCheckAt = .distantFuture
        guard let context, let earliest = pending.lazy.filter({ $0.completion != nil }).map(\.deadline).min() else {
            return
        }
        guard earliest <= context.eventLoop.now else { return scheduleDeadlineCheck(at: earliest) }
        if isGracePeriodOver { return failLate(context) }
        // Perhaps this event loop was late, and the reply waits in the socket: read once more first.
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadlineCheckAt = earliest
        deadlineCheck = context.eventLoop.scheduleTask(in: Self.lateReplyGrace) {
            loopBound.value.checkDeadlines(isGracePeriodOver: true)
        }
    }

    /// Fails the late commands and probes the node; ends the connection if a vital command is late.
    private func failLate(_ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        let late = pending.indices.filter { pending[$0].completion != nil && pending[$0].deadline <= now }
        let patience = late.map { pending[$0].deadline - pending[$0].sentAt }.reduce(Self.shortestProbe, max)
        // A vital command in flight serves as the probe, unless its deadline is too far off.
        let isProbing = pending.contains { $0.closesConnectionOnTimeout && $0.deadline <= now + patience }
        let probe = isProbing ? nil : self.probe()
        let isOver = late.contains { pending[$0].closesConnectionOnTimeout } || probe == nil && !isProbing
        guard !isOver else { return end(NodeFailure(.timeout, "no reply by the deadline"), failure: .timedOut) }
        var failed: [Completion] = []
        for index in late {
            if let completion = pending[index].completion { failed.append(completion) }
            pending[index].completion = nil
        }
        if let probe {
            send(probe, closesConnectionOnTimeout: true, deadline: now + patience) { [weak self] result in
                // Any reply shows that the node responds; close only if the reply names a node failure.
                if case .success(.error(let message)) = result, Redirect(message) == nil,
                    let nodeFailure = NodeFailure(reply: message)
                {
                    self?.close(nodeFailure)
                }
            }
        }
        for completion in failed { completion(.failure(.timedOut)) }
        if let next = pending.lazy.filter({ $0.completion != nil }).map(\.deadline).min(), next < deadlineCheckAt {
            scheduleDeadlineCheck(at: next)
        }
        if let drainReason, !isAwaitingReplies { close(drainReason) }
    }

    /// Whether any command still waits for a reply.
    private var isAwaitingReplies: Bool { pending.contains { $0.completion != nil } }

    /// Closes the connection and fails all pending commands.
    func close(_ nodeFailure: NodeFailure) {
        end(nodeFailure, failure: .closed)
    }

    /// Accepts no more commands, and closes the connection once all pending commands are answered or late.
    func finish(_ nodeFailure: NodeFailure) {
        drainReason = nodeFailure
        if !isAwaitingReplies { close(nodeFailure) }
    }

    private func end(_ nodeFailure: NodeFailure, failure: Failure) {
        guard !hasEnded else { return }
        hasEnded = true
        deadlineCheck?.cancel()
        deadlineCheck = nil
        let waiting = pending
        pending = []
        context?.close(promise: nil)
        // Mark the node as down before completing the commands, so that no retry is sent to it.
        if isOpen { ended(self, nodeFailure) }
        for command in waiting { command.completion?(.failure(failure)) }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func channelActive(context: ChannelHandlerContext) {
        isOpen = true
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        end(NodeFailure(.closed, "the connection was closed"), failure: .closed)
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(NodeFailure(.closed, "the node closed the connection"), failure: .closed)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(NodeFailure(error), failure: .closed)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        do throws(RESPReader.ProtocolError) {
            if reader == nil { reader = try RESPReader() }
            try reader?.feed(unwrapInboundIn(data))
            while !hasEnded, let reply = try reader?.nextReply() {
                guard let command = pending.popFirst() else {
                    throw RESPReader.ProtocolError(description: "an unsolicited reply")
                }
                command.completion?(.success(reply))
            }
            if let drainReason, !isAwaitingReplies { close(drainReason) }
        } catch {
            end(NodeFailure(.protocol, "protocol error: \(error)"), failure: .closed)
        }
    }
}
