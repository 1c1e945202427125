package import Foundation

/// A TCP connection to a local port, with a timeout for reads and writes.
package final class Socket {
    /// An error of a socket operation.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) {
            self.description = description
        }
    }

    private let descriptor: Int32

    /// Connects to 127.0.0.1.
    package init(port: Int, timeoutSeconds: Int = 20) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var timeout = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = Self.loopback(port: UInt16(port))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // If this throws, `deinit` closes the descriptor. Closing it here as well could close a descriptor that another
        // thread has opened since under the same number.
        guard result == 0 else {
            throw Failure(description: "cannot connect to port \(port): \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }

    /// Sends all of the bytes.
    package func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Foundation.send(
                    descriptor, raw.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure(description: "cannot send: \(String(cString: strerror(errno)))") }
            sent += count
        }
    }

    /// Shuts down the sending side of the connection.
    package func finishSending() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// Waits for at least one byte and returns all that have arrived; empty at the end of the stream.
    package func receive() throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count >= 0 else { throw Failure(description: "cannot receive: \(String(cString: strerror(errno)))") }
        return Array(buffer[..<count])
    }

    /// Whether the peer has shut down its sending side and no bytes are left to read.
    package var isClosedByPeer: Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT)) == 0
    }

    /// Listens on a free port of 127.0.0.1.
    package static func listen() throws -> (listener: Int32, port: Int) {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Socket.loopback(port: 0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                guard bind(listener, pointer, size) == 0, Foundation.listen(listener, 64) == 0 else { return Int32(-1) }
                return getsockname(listener, pointer, &size)
            }
        }
        guard result == 0 else {
            close(listener)
            throw Socket.Failure(description: "cannot listen: \(String(cString: strerror(errno)))")
        }
        return (listener, Int(UInt16(bigEndian: address.sin_port)))
    }

    /// A port of 127.0.0.1 that has no listener at the moment.
    package static func freePort() throws -> Int {
        try ReservedPort().number
    }

    /// The address of a port of 127.0.0.1.
    package static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}

/// A port of 127.0.0.1 that refuses connections: bound without a listener until this object is released.
package final class ReservedPort: Sendable {
    package let number: Int
    private let descriptor: Int32

    /// Binds the port with this number, or any free port for 0.
    package init(_ number: Int = 0) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Socket.loopback(port: UInt16(number))
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 ? getsockname(descriptor, $0, &size) : -1
            }
        }
        self.number = Int(UInt16(bigEndian: address.sin_port))
        // `deinit` closes the descriptor here, too.
        guard result == 0 else {
            throw Socket.Failure(description: "no free port: \(String(cString: strerror(errno)))")
        }
    }

    deinit {
        close(descriptor)
    }
}
