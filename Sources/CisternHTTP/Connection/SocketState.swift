internal import NIOCore

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// What the system knows of a socket and NIO has not asked for yet.
enum SocketState {
    /// Whether bytes have arrived that have not been read.
    static func hasUnreadInput(_ channel: any Channel) -> Bool {
        isReadable(channel, emptyIsInput: false)
    }

    /// Whether connections wait to be accepted.
    static func hasWaitingConnections(_ channel: any Channel) -> Bool {
        isReadable(channel, emptyIsInput: true)
    }

    /// Lets no new connection be established; those that are already can still be accepted.
    ///
    /// A filter that passes no SYN (`SO_ATTACH_FILTER`): clients repeat it, and are refused once the listener is closed, and
    /// handshakes that have begun end. Closing it at once would reset connections that clients think are good.
    static func refuseNewConnections(_ channel: any Channel) {
        #if os(Linux)
            struct Program {
                var count: UInt16
                var instructions: UnsafeRawPointer
            }
            // Load byte 13 of the TCP header, its flags; where SYN is among them keep 0 bytes of the packet, else all.
            let passNoSYN: [UInt64] = [
                0x0000_000d_0000_0030, 0x0000_0002_0100_0045, 0x06, 0xffff_ffff_0000_0006,
            ]
            passNoSYN.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                var program = Program(count: UInt16(passNoSYN.count), instructions: start)
                _ = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                    of: NIOBSDSocket.Handle.self
                ) { socket in
                    setsockopt(
                        socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, socklen_t(MemoryLayout<Program>.size))
                }
            }
        #endif
    }

    private static func isReadable(_ channel: any Channel, emptyIsInput: Bool) -> Bool {
        let transport = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { socket in
            var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 0) == 1, entry.revents & Int16(POLLIN) != 0 else { return false }
            if emptyIsInput { return true }
            // The end of the input is readable, too.
            var byte: UInt8 = 0
            return recv(socket, &byte, 1, Int32(MSG_PEEK)) > 0
        }
        return transport ?? false
    }
}
