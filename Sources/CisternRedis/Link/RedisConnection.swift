internal import Cistern
internal import DequeModule
internal import NIOCore

/// One connection to a node: commands out in the order given, replies matched to them in the order they come.
///
/// Commands written in one turn of the event loop leave in one write. Each has a deadline. A command that is late fails
/// alone, and a probe is sent; a probe or another vital command that is late ends the connection. Whatever ends it,
/// every command is answered once, and `ended` is called once with the reason. It lives on its channel's event loop.
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
        let isVital: Bool
        /// Nil once the command has failed: its reply, which may still come, is of no account.
        var completion: Completion?
    }

    /// The shortest time that a probe has for its answer.
    private static let shortestProbe = TimeAmount.milliseconds(100)

    /// How long after a deadline a reply is still taken: one turn of the event loop.
    private static let secondLookDelay = TimeAmount.milliseconds(1)

    private let maximumPending: Int
    private let ended: (RedisConnection, NodeFailure) -> Void
    private var reader: RESPReader?
    private var pending: Deque<Pending> = []
    /// A command whose answer shows that the node still answers; nil for none, and then any late command is vital.
    var probe: () -> [[UInt8]]? = { nil }
    private var unsent = RESPCommands()
    private var isFlushDue = false
    private var deadlineCheck: Scheduled<Void>?
    /// When `deadlineCheck` is due.
    private var deadlineCheckAt = NIODeadline.distantFuture
    private var context: ChannelHandlerContext?
    /// Whether the connection has come about; until then its end is the connecting side's to report.
    private var isOpen = false
    /// Set once the connection has ended, by whatever came first.
    private var hasEnded = false
    /// Why it ends as soon as nothing waits on it any more; nil while it goes on.
    private var finishing: NodeFailure?

    /// Creates the handler of one connection.
    ///
    /// - Parameters:
    ///   - maximumPending: how many commands may wait for replies; more fail at once, but for vital ones.
    ///   - ended: called once, with this connection and why it ended.
    init(maximumPending: Int, ended: @escaping (RedisConnection, NodeFailure) -> Void) {
        self.maximumPending = maximumPending
        self.ended = ended
    }

    // MARK: Commands

    /// When a command was last sent.
    private(set) var lastSent = NIODeadline.uptimeNanoseconds(0)

    /// Sends one command; its completion is called once.
    ///
    /// - Parameter prefix: a command to send right before it, whose reply is of no account; neither goes without the
    ///   other.
    /// - Parameter isVital: whether the connection is of no more use where no reply comes by the deadline.
    func send(
        _ words: [[UInt8]], after prefix: [[UInt8]]? = nil, isVital: Bool = false, deadline: NIODeadline,
        completion: @escaping (Result<RESPValue, Failure>) -> Void
    ) {
        send(after: prefix, isVital: isVital, deadline: deadline, completion: { completion($0.map(\.value)) }) {
            $0.append(command: words)
        }
    }

    /// The same for a command that `write` writes.
    func send(
        after prefix: [[UInt8]]? = nil, isVital: Bool = false, deadline: NIODeadline, completion: @escaping Completion,
        write: (inout RESPCommands) -> Void
    ) {
        guard let context, !hasEnded, finishing == nil else { return completion(.failure(.closed)) }
        let count = prefix == nil ? 1 : 2
        guard isVital || pending.count + count <= maximumPending else { return completion(.failure(.overloaded)) }
        if let prefix {
            unsent.append(command: prefix)
            pending.append(
                Pending(deadline: deadline, sentAt: context.eventLoop.now, isVital: false, completion: { _ in }))
        }
        write(&unsent)
        pending.append(
            Pending(deadline: deadline, sentAt: context.eventLoop.now, isVital: isVital, completion: completion))
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
            loopBound.value.checkDeadlines(isSecondLook: false)
        }
    }

    private func checkDeadlines(isSecondLook: Bool) {
        deadlineCheckAt = .distantFuture
        guard let context, let earliest = pending.lazy.filter({ $0.completion != nil }).map(\.deadline).min() else {
            return
        }
        guard earliest <= context.eventLoop.now else { return scheduleDeadlineCheck(at: earliest) }
        if isSecondLook { return failLate(context) }
        // Perhaps it was this event loop that was late, and the reply lies in the socket: read once more first.
        let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadlineCheckAt = earliest
        deadlineCheck = context.eventLoop.scheduleTask(in: Self.secondLookDelay) {
            loopBound.value.checkDeadlines(isSecondLook: true)
        }
    }

    /// Fails the commands that are late, and tries whether the node still answers; where that is late, it is over.
    private func failLate(_ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        let late = pending.indices.filter { pending[$0].completion != nil && pending[$0].deadline <= now }
        let patience = late.map { pending[$0].deadline - pending[$0].sentAt }.reduce(Self.shortestProbe, max)
        // A vital command that may take longer does not tell soon enough.
        let isProbing = pending.contains { $0.isVital && $0.deadline <= now + patience }
        let probe = isProbing ? nil : self.probe()
        let isOver = late.contains { pending[$0].isVital } || probe == nil && !isProbing
        guard !isOver else { return end(NodeFailure(.timeout, "no reply by the deadline"), failure: .timedOut) }
        var failed: [Completion] = []
        for index in late {
            if let completion = pending[index].completion { failed.append(completion) }
            pending[index].completion = nil
        }
        if let probe {
            send(probe, isVital: true, deadline: now + patience) { [weak self] result in
                // Whatever it says, the node answers; what is wrong with it otherwise its user sees.
                if case .success(.error(let message)) = result, Redirect(message) == nil,
                    let trouble = NodeFailure(reply: message)
                {
                    self?.close(trouble)
                }
            }
        }
        for completion in failed { completion(.failure(.timedOut)) }
        if let next = pending.lazy.filter({ $0.completion != nil }).map(\.deadline).min(), next < deadlineCheckAt {
            scheduleDeadlineCheck(at: next)
        }
        if let finishing, !isAwaited { close(finishing) }
    }

    /// Whether anybody still waits for a reply.
    private var isAwaited: Bool { pending.contains { $0.completion != nil } }

    /// Closes the connection, failing whatever waits on it.
    func close(_ trouble: NodeFailure) {
        end(trouble, failure: .closed)
    }

    /// Takes no more commands, and closes the connection once all that wait on it have been answered or are too late.
    func finish(_ trouble: NodeFailure) {
        finishing = trouble
        if !isAwaited { close(trouble) }
    }

    private func end(_ trouble: NodeFailure, failure: Failure) {
        guard !hasEnded else { return }
        hasEnded = true
        deadlineCheck?.cancel()
        deadlineCheck = nil
        let waiting = pending
        pending = []
        context?.close(promise: nil)
        // The node goes down before anyone is told, so that nobody who asks again is sent back here.
        if isOpen { ended(self, trouble) }
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
                    throw RESPReader.ProtocolError(description: "a reply that nothing asked for")
                }
                command.completion?(.success(reply))
            }
            if let finishing, !isAwaited { close(finishing) }
        } catch {
            end(NodeFailure(.protocol, "protocol error: \(error)"), failure: .closed)
        }
    }
}
