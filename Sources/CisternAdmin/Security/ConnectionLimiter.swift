internal import NIOCore
internal import Synchronization

/// Bounds the connections to the admin port: at the limit, a new connection closes the least trusted one.
///
/// So clients without a token cannot lock out clients with one, and silent clients cannot lock out probes and scrapes.
final class ConnectionLimiter: Sendable {
    /// How far a connection's client is trusted, in ascending order.
    enum TrustLevel: Int {
        case silent
        /// The client has sent a request.
        case asked
        /// The client has sent a valid token, or needs none.
        case known
    }

    private struct Connection {
        let channel: any Channel
        let address: String
        let number: UInt64
        var trustLevel = TrustLevel.silent
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        var joined: UInt64 = 0

        /// The connection to close.
        ///
        /// The lowest trust level comes first, then the address with the most connections (not for `known` clients),
        /// then the oldest connection.
        var evictionCandidate: Connection? {
            var counts: [String: Int] = [:]
            for connection in connections.values { counts[connection.address, default: 0] += 1 }
            func rank(_ connection: Connection) -> (Int, Int, UInt64) {
                let connectionsFromAddress = connection.trustLevel == .known ? 0 : counts[connection.address] ?? 0
                return (connection.trustLevel.rawValue, -connectionsFromAddress, connection.number)
            }
            return connections.values.min { rank($0) < rank($1) }
        }
    }

    private let maximum: Int
    private let state = Mutex(State())

    init(maximum: Int) {
        self.maximum = maximum
    }

    /// Adds a connection; at the limit, closes the least trusted connection.
    func join(_ channel: any Channel, from address: String) {
        let leaving: (any Channel)? = state.withLock { state in
            let leaving = state.connections.count < maximum ? nil : state.evictionCandidate
            if let leaving { state.connections[ObjectIdentifier(leaving.channel)] = nil }
            state.joined += 1
            state.connections[ObjectIdentifier(channel)] = Connection(
                channel: channel, address: address, number: state.joined)
            return leaving?.channel
        }
        leaving?.close(promise: nil)
    }

    /// Raises the trust level of a connection; a lower level is ignored.
    func note(_ trustLevel: TrustLevel, on channel: any Channel) {
        state.withLock { state in
            let id = ObjectIdentifier(channel)
            guard let connection = state.connections[id], connection.trustLevel.rawValue < trustLevel.rawValue else {
                return
            }
            state.connections[id]?.trustLevel = trustLevel
        }
    }

    func leave(_ channel: any Channel) {
        state.withLock { $0.connections[ObjectIdentifier(channel)] = nil }
    }
}

/// Enforces two deadlines on a connection to the admin port: for its first request and for reading responses.
final class AdminConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = Any
    typealias OutboundIn = Any

    /// How long a client may take for the head of its first request.
    static let firstRequestTimeout = TimeAmount.seconds(5)
    /// How long a client may leave sent data unread.
    static let writeStallTimeout = TimeAmount.seconds(10)

    private let connections: ConnectionLimiter
    private var firstRequest: Scheduled<Void>?
    private var stalled: Scheduled<Void>?

    init(connections: ConnectionLimiter) {
        self.connections = connections
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        connections.join(channel, from: channel.remoteAddress?.ipAddress ?? "")
        // Bounds the kernel's send buffer, too, for clients that do not read.
        _ = try? channel.syncOptions?.setOption(.socketOption(.so_sndbuf), value: 1 << 16)
        firstRequest = context.eventLoop.scheduleTask(in: Self.firstRequestTimeout) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        firstRequest?.cancel()
        stalled?.cancel()
        connections.leave(context.channel)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        firstRequest?.cancel()
        firstRequest = nil
        connections.note(.asked, on: context.channel)
        context.fireChannelRead(data)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stalled?.cancel()
        stalled = nil
        if !context.channel.isWritable {
            let channel = context.channel
            stalled = context.eventLoop.scheduleTask(in: Self.writeStallTimeout) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }
}
