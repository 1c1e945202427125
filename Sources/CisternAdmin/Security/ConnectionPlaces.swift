internal import NIOCore
internal import Synchronization

/// The places for connections to the operators' port: one more makes the one go that has been silent for longest.
///
/// So clients that connect and say nothing cannot shut out probes, scrapes and operators.
final class ConnectionPlaces: Sendable {
    private struct Place {
        let channel: any Channel
        let number: UInt64
        /// Whether it has ever asked something.
        var hasAsked = false
    }

    private struct State {
        var places: [ObjectIdentifier: Place] = [:]
        var joined: UInt64 = 0
    }

    private let maximum: Int
    private let state = Mutex(State())

    init(maximum: Int) {
        self.maximum = maximum
    }

    /// Gives a connection a place; where there is none, the oldest that has asked nothing yet goes, else the oldest.
    func join(_ channel: any Channel) {
        let leaving: (any Channel)? = state.withLock { state in
            var leaving: Place?
            if state.places.count >= maximum {
                leaving = state.places.values.min {
                    ($0.hasAsked ? 1 : 0, $0.number) < ($1.hasAsked ? 1 : 0, $1.number)
                }
                if let leaving { state.places[ObjectIdentifier(leaving.channel)] = nil }
            }
            state.joined += 1
            state.places[ObjectIdentifier(channel)] = Place(channel: channel, number: state.joined)
            return leaving?.channel
        }
        leaving?.close(promise: nil)
    }

    /// A connection has asked something.
    func noteRequest(on channel: any Channel) {
        state.withLock { $0.places[ObjectIdentifier(channel)]?.hasAsked = true }
    }

    func leave(_ channel: any Channel) {
        state.withLock { $0.places[ObjectIdentifier(channel)] = nil }
    }
}

/// Watches over one connection to the operators' port: it must ask soon, and take what it is answered.
final class AdminConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = Any
    typealias OutboundIn = Any

    /// How long a client may take for the head of its first request.
    static let firstRequestTime = TimeAmount.seconds(5)
    /// How long a client may take nothing of what is sent to it.
    static let stalledTime = TimeAmount.seconds(10)

    private let places: ConnectionPlaces
    private var firstRequest: Scheduled<Void>?
    private var stalled: Scheduled<Void>?

    init(places: ConnectionPlaces) {
        self.places = places
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        places.join(channel)
        // What the system holds for a client that takes nothing is bounded as well.
        _ = try? channel.syncOptions?.setOption(.socketOption(.so_sndbuf), value: 1 << 16)
        firstRequest = context.eventLoop.scheduleTask(in: Self.firstRequestTime) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        firstRequest?.cancel()
        stalled?.cancel()
        places.leave(context.channel)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        firstRequest?.cancel()
        firstRequest = nil
        places.noteRequest(on: context.channel)
        context.fireChannelRead(data)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        stalled?.cancel()
        stalled = nil
        if !context.channel.isWritable {
            let channel = context.channel
            stalled = context.eventLoop.scheduleTask(in: Self.stalledTime) { channel.close(promise: nil) }
        }
        context.fireChannelWritabilityChanged()
    }
}
