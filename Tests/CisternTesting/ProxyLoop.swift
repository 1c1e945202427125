import CisternProcesses
import Foundation
import Synchronization

/// The thread of a proxy.
///
/// `poll` only wakes the thread. The thread then serves every connection with non-blocking calls. It holds the lock
/// under which tests change the faults, so a change is never seen half done.
final class ProxyLoop: Sendable {
    struct State {
        var faults = ProxyFaults()
        var counts = ByteProxy.Counts()
        var connections: [ProxyConnection] = []
        /// Always bound; connections are refused while it does not listen.
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
    /// The ends of a pipe: a byte written to the second end wakes `poll`.
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

    /// Changes the faults for bytes that arrive from now on, and wakes the thread.
    func change(_ body: (inout State) throws -> Void) rethrows {
        try state.withLock { state in
            guard !state.isStopped else { return }
            wake()
            // Bytes that arrived before still pass under the old faults.
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
                // A socket cannot stop listening, so a new one takes its port.
                ProxySocket.endListening(state.listener)
                state.listener = try rebound()
            } else {
                guard listen(state.listener, 128) == 0 else { throw ProxySocket.failure("cannot listen again") }
            }
            state.isRefusing = isOn
        }
    }

    /// Binds the port again; the old socket holds it until the woken thread leaves `poll`.
    private func rebound() throws -> Int32 {
        for _ in 0..<2000 {
            if let (listener, _) = try? ProxySocket.bound(port: port) { return listener }
            // A pause between attempts: only binding shows whether the port is free, and the caller is synchronous.
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

    /// Does all work that is possible now; returns what to poll for, and the timeout in milliseconds.
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
        // Rounded up: a wait that ends too early would cause a pass without work.
        let timeout = due.map { Int32(min((now.duration(to: $0) / .milliseconds(1)).rounded(.up), 1e9)) }
        return (waiting, timeout ?? -1)
    }
}

/// The faults that a proxy injects; index 0 of an array is for requests, index 1 for replies.
struct ProxyFaults {
    var delays: [Duration] = [.zero, .zero]
    var silent = [false, false]
    var isCorrupt = false
    /// The offset of the reply byte to corrupt, counted from now, and the bits to flip.
    var corruption: (offset: Int, mask: UInt8)?
    var bytesUntilCut: Int?

    /// Corrupts bytes that the server sent, as configured.
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

/// Non-blocking sockets that child processes do not inherit, because a child would keep them open.
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

    /// A socket bound to a port of 127.0.0.1, or to any free port for 0.
    static func bound(port: Int) throws -> (descriptor: Int32, port: Int) {
        let descriptor = fresh()
        var isOn: Int32 = 1
        // Connections of the previous socket may still use the port.
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

    /// The next pending connection; nil if there is none.
    static func accepted(by listener: Int32) -> Int32? {
        let descriptor = accept(listener, nil, nil)
        guard descriptor >= 0 else { return nil }
        prepare(descriptor)
        withoutDelay(descriptor)
        return descriptor
    }

    /// Starts to connect; reading the socket shows whether that succeeds.
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

    /// Closes a listening socket at once, even while a thread polls it.
    static func endListening(_ descriptor: Int32) {
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }

    /// Closes a connection, gracefully or with a reset.
    static func end(_ descriptor: Int32, reset: Bool) {
        if reset {
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        } else {
            shutdown(descriptor, Int32(SHUT_WR))
            // Unread bytes would turn the graceful close into a reset.
            var bytes = [UInt8](repeating: 0, count: 65536)
            while recv(descriptor, &bytes, bytes.count, 0) > 0 {}
        }
        close(descriptor)
    }
}
