internal import NIOCore
internal import Synchronization

/// The places for connections to the operators' port: where all are taken, one more makes another one go.
///
/// So no client without a token can shut out those that have one, and none that is silent can shut out probes and
/// scrapes.
final class ConnectionPlaces: Sendable {
    /// What is known of a connection's client, the least first.
    enum Standing: Int {
        case silent
        /// It has asked something.
        case asked
        /// It has shown a valid token, or needs none.
        case known
    }

    private struct Place {
        let channel: any Channel
        let address: String
        let number: UInt64
        var standing = Standing.silent
    }

    private struct State {
        var places: [ObjectIdentifier: Place] = [:]
        var joined: UInt64 = 0

        /// Of the lowest standing, at the address that has the most places unless it is known, the oldest.
        var leastWanted: Place? {
            var counts: [String: Int] = [:]
            for place in places.values { counts[place.address, default: 0] += 1 }
            func rank(_ place: Place) -> (Int, Int, UInt64) {
                let crowd = place.standing == .known ? 0 : counts[place.address] ?? 0
                return (place.standing.rawValue, -crowd, place.number)
            }
            return places.values.min { rank($0) < rank($1) }
        }
    }

    private let maximum: Int
    private let state = Mutex(State())

    init(maximum: Int) {
        self.maximum = maximum
    }

    /// Gives a connection a place, if need be the one of the least wanted.
    func join(_ channel: any Channel, from address: String) {
        let leaving: (any Channel)? = state.withLock { state in
            let leaving = state.places.count < maximum ? nil : state.leastWanted
            if let leaving { state.places[ObjectIdentifier(leaving.channel)] = nil }
            state.joined += 1
            state.places[ObjectIdentifier(channel)] = Place(channel: channel, address: address, number: state.joined)
            return leaving?.channel
        }
        leaving?.close(promise: nil)
    }

    /// Notes what is known of a connection's client now; it never becomes less.
    func note(_ standing: Standing, on channel: any Channel) {
        state.withLock { state in
            let id = ObjectIdentifier(channel)
            guard let place = state.places[id], place.standing.rawValue < standing.rawValue else { return }
            state.places[id]?.standing = standing
        }
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
        places.join(channel, from: channel.remoteAddress?.ipAddress ?? "")
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
        places.note(.asked, on: context.channel)
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
