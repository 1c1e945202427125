internal import NIOCore

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// Socket state and options that NIO does not expose.
enum SocketState {
    /// Whether the socket has received bytes that NIO has not read.
    static func hasUnreadInput(_ channel: any Channel) -> Bool {
        isReadable(channel, emptyIsInput: false)
    }

    /// Whether the listener has connections to accept.
    static func hasWaitingConnections(_ channel: any Channel) -> Bool {
        isReadable(channel, emptyIsInput: true)
    }

    /// Blocks or unblocks new TCP handshakes at a listener; returns false if Linux rejects the option.
    ///
    /// `IP_MINTTL` needs no privilege. It drops each SYN with a TTL below 255, which is nearly every SYN. Clients retry
    /// until the listener closes. Handshakes in progress complete; closing the listener at once would reset them.
    static func setAllowsNewHandshakes(_ allowed: Bool, _ channel: any Channel) -> Bool {
        #if os(Linux)
            let done = try? channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { socket in
                var least: Int32 = allowed ? 0 : 255
                let size = socklen_t(MemoryLayout<Int32>.size)
                let leastHopsOption: Int32 = 73  // IPV6_MINHOPCOUNT
                let ofVersion4 = setsockopt(socket, Int32(IPPROTO_IP), IP_MINTTL, &least, size)
                // An IPv4 socket does not have this option, so the result is ignored.
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
            // `poll` reports the end of input as readable, too.
            var byte: UInt8 = 0
            return recv(socket, &byte, 1, Int32(MSG_PEEK)) > 0
        }
        return transport ?? false
    }
}
