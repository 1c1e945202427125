import Foundation
import Synchronization

/// The thread of a proxy.
///
/// `poll` only tells it when to look. It then tries every connection, with calls that do not block, and under the lock
/// under which tests change what happens: a control is therefore never seen half.
final class ProxyLoop: Sendable {
    struct State {
        var faults = ProxyFaults()
        var counts = ByteProxy.Counts()
        var connections: [ProxyConnection] = []
        /// Bound all the time; connections are refused while nobody listens on it.
        var listener: Int32
        var isRefusing = false
        var isStopped = false

        mutating func cutAll() {
            for connection in connections { connection.close(reset: true) }
            connections = []
            counts.open = 0
        }
    }

    let port: Int
    let state: Mutex<State>
    private let target: Int
    /// A byte written to the second end ends a `poll`.
    private let wakeEnds: [Int32]

    init(target: Int) throws {
        self.target = target
        let (listener, port) = try ProxySocket.bound(port: 0)
        var ends: [Int32] = [-1, -1]
        guard listen(listener, 128) == 0, pipe(&ends) == 0 else {
            let failure = ProxySocket.failure("the proxy cannot listen")
            close(listener)
            throw failure
        }
        for end in ends { ProxySocket.prepare(end) }
        wakeEnds = ends
        self.port = port
        state = Mutex(State(listener: listener))
    }

    /// Changes what happens to the bytes that come from now on, and lets the thread look.
    func change(_ body: (inout State) throws -> Void) rethrows {
        try state.withLock { state in
            guard !state.isStopped else { return }
            wake()
            // What came before goes its way as it was.
            _ = pass(&state)
            try body(&state)
        }
    }

    func stop() {
        change { state in
            state.cutAll()
            ProxySocket.endListening(state.listener)
            state.isStopped = true
        }
    }

    func refuse(_ isOn: Bool) throws {
        try change { state in
            guard state.isRefusing != isOn else { return }
            if isOn {
                // A socket cannot stop listening, so another takes its port.
                ProxySocket.endListening(state.listener)
                state.listener = try rebound()
            } else {
                guard listen(state.listener, 128) == 0 else { throw ProxySocket.failure("cannot listen again") }
            }
            state.isRefusing = isOn
        }
    }

    /// Binds the port anew; the old socket holds it until the thread, woken, leaves its `poll`.
    private func rebound() throws -> Int32 {
        for _ in 0..<2000 {
            if let (listener, _) = try? ProxySocket.bound(port: port) { return listener }
            // A pause between tries, not a wait for something: only binding tells whether the port can be had, and the
            // caller is not asynchronous.
            usleep(1000)
        }
        throw ProxySocket.failure("cannot bind port \(port) again")
    }

    private func wake() {
        var byte: UInt8 = 0
        // A full pipe wakes as well.
        _ = write(wakeEnds[1], &byte, 1)
    }

    func run() {
        while true {
            guard let (awaited, timeout) = state.withLock({ $0.isStopped ? nil : pass(&$0) }) else { break }
            var descriptors = awaited
            _ = poll(&descriptors, nfds_t(descriptors.count), timeout)
            var bytes = [UInt8](repeating: 0, count: 256)
            while read(wakeEnds[0], &bytes, bytes.count) > 0 {}
        }
        for end in wakeEnds { close(end) }
    }

    /// Does all that can be done now; returns what to wait for, and for how many milliseconds at most.
    private func pass(_ state: inout State) -> ([pollfd], Int32) {
        while !state.isRefusing, let client = ProxySocket.accepted(by: state.listener) {
            state.counts.accepted += 1
            state.connections.append(ProxyConnection(client: client, target: target))
        }
        let now = ContinuousClock.now
        var waiting = [pollfd(fd: wakeEnds[0], events: Int16(POLLIN), revents: 0)]
        if !state.isRefusing { waiting.append(pollfd(fd: state.listener, events: Int16(POLLIN), revents: 0)) }
        var due: ContinuousClock.Instant?
        for connection in state.connections {
            connection.move(&state.faults, &state.counts, now: now)
            guard !connection.isClosed else { continue }
            waiting += connection.awaited(state.faults, now: now)
            if let next = connection.nextDue(state.faults, now: now) { due = min(due ?? next, next) }
        }
        state.connections.removeAll(where: \.isClosed)
        state.counts.open = state.connections.count
        // Rounded up: a wait that ends a moment early would turn around for nothing.
        let timeout = due.map { Int32(min((now.duration(to: $0) / .milliseconds(1)).rounded(.up), 1e9)) }
        return (waiting, timeout ?? -1)
    }
}

/// What a proxy does to the bytes: for requests at index 0, for replies at index 1.
struct ProxyFaults {
    var delays: [Duration] = [.zero, .zero]
    var silent = [false, false]
    var isCorrupt = false
    /// Which byte of the replies to change, counted from now, and the bits to turn.
    var corruption: (offset: Int, mask: UInt8)?
    var bytesUntilCut: Int?

    /// Changes what the server sent as it should be changed.
    mutating func spoil(_ bytes: inout [UInt8]) {
        if isCorrupt { for index in bytes.indices { bytes[index] ^= 0x80 } }
        guard let (offset, mask) = corruption else { return }
        if offset < bytes.count {
            bytes[offset] ^= mask
            corruption = nil
        } else {
            corruption = (offset - bytes.count, mask)
        }
    }
}

/// Sockets that do not block, and that no child process inherits: it would keep them open.
enum ProxySocket {
    static func prepare(_ descriptor: Int32) {
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    }

    static func failure(_ what: String) -> Socket.Failure {
        Socket.Failure(description: "\(what): \(String(cString: strerror(errno)))")
    }

    private static func fresh() -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        prepare(descriptor)
        return descriptor
    }

    /// A socket on a port of 127.0.0.1, or on any for 0.
    static func bound(port: Int) throws -> (descriptor: Int32, port: Int) {
        let descriptor = fresh()
        var isOn: Int32 = 1
        // The port may still have connections of the socket that had it before.
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &isOn, socklen_t(MemoryLayout<Int32>.size))
        var address = Socket.loopback(port: UInt16(port))
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 ? getsockname(descriptor, $0, &size) : -1
            }
        }
        guard result == 0 else {
            let failure = failure("cannot bind port \(port)")
            close(descriptor)
            throw failure
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }

    /// The next connection that waits; nil where none does.
    static func accepted(by listener: Int32) -> Int32? {
        let descriptor = accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        prepare(descriptor)
        withoutDelay(descriptor)
        return descriptor
    }

    /// Begins to connect; whether it works shows when the socket is read.
    static func connecting(to port: Int) -> Int32 {
        let descriptor = fresh()
        withoutDelay(descriptor)
        var address = Socket.loopback(port: UInt16(port))
        _ = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return descriptor
    }

    private static func withoutDelay(_ descriptor: Int32) {
        var isOn: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Closes a socket that listens, at once even where a thread polls it at the moment.
    static func endListening(_ descriptor: Int32) {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    /// Closes a connection: in order, or with a reset.
    static func end(_ descriptor: Int32, reset: Bool) {
        if reset {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        } else {
            shutdown(descriptor, Int32(SHUT_WR))
            // What came and was not read would turn the end into a reset.
            var bytes = [UInt8](repeating: 0, count: 65536)
            while recv(descriptor, &bytes, bytes.count, 0) > 0 {}
        }
        close(descriptor)
    }
}
