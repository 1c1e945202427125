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
    /// A filter that passes nothing (`SO_ATTACH_FILTER`): clients repeat their SYN, and are refused once the listener is
    /// closed. Closing it at once would reset connections that clients think are good.
    static func refuseNewConnections(_ channel: any Channel) {
        #if os(Linux)
            struct Program {
                var count: UInt16
                var instructions: UnsafeRawPointer
            }
            // One instruction, BPF_RET | BPF_K: of each packet keep 0 bytes.
            let passNothing: [UInt64] = [0x06]
            passNothing.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress else { return }
                var program = Program(count: 1, instructions: start)
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
