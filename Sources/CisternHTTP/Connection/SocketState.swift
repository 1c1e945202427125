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

    /// Lets no new handshake begin at a listener, or again any; those that have begun end, and can be accepted.
    ///
    /// Only packets that have passed no router at all are taken for a first SYN (`IP_MINTTL`, which needs no
    /// privilege), and hardly any client sends those. Clients repeat their SYN, and are refused once the listener is
    /// closed; closing it at once would reset connections that clients think are good.
    ///
    /// - Returns: whether the system has done so; it has where it is not Linux.
    static func setTakesNewConnections(_ isTaking: Bool, _ channel: any Channel) -> Bool {
        #if os(Linux)
            let done = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { socket in
                var least: Int32 = isTaking ? 0 : 255
                let size = socklen_t(MemoryLayout<Int32>.size)
                let leastHopsOption: Int32 = 73  // IPV6_MINHOPCOUNT
                let ofVersion4 = setsockopt(socket, Int32(IPPROTO_IP), IP_MINTTL, &least, size)
                // One that is bound to an address of version 4 has no such option.
                _ = setsockopt(socket, Int32(IPPROTO_IPV6), leastHopsOption, &least, size)
                return ofVersion4 == 0
            }
            return done ?? true
        #else
            return true
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
