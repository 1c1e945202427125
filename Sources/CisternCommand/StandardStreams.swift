#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// Descriptors 0 to 2, which a program may be started without, or with nobody at their other end.
enum StandardStreams {
    /// Opens `/dev/null` in the place of those that are closed.
    ///
    /// Otherwise the next descriptors that the process opens would take their numbers, and log lines go into them.
    static func openClosed() {
        while true {
            let descriptor = open("/dev/null", O_RDWR)
            guard 0...STDERR_FILENO ~= descriptor else {
                if descriptor > STDERR_FILENO { close(descriptor) }
                return
            }
        }
    }

    /// Writes a short text, unless a reader that is not there would have to be waited for.
    static func write(_ text: String, to descriptor: Int32) {
        let longestWaitMilliseconds: Int32 = 500
        var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, longestWaitMilliseconds) == 1 else { return }
        let bytes = Array(text.utf8)
        #if canImport(Darwin)
            _ = Darwin.write(descriptor, bytes, bytes.count)
        #else
            _ = Glibc.write(descriptor, bytes, bytes.count)
        #endif
    }
}
