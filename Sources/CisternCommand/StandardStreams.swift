#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// File descriptors 0 to 2, which may be closed at start or have no reader.
enum StandardStreams {
    /// Opens `/dev/null` for each closed standard descriptor.
    ///
    /// Otherwise the next files that the process opens would get the numbers of these descriptors, and log lines would
    /// be written to those files.
    static func openClosed() {
        while true {
            let descriptor = open("/dev/null", O_RDWR)
            guard 0...STDERR_FILENO ~= descriptor else {
                if descriptor > STDERR_FILENO { close(descriptor) }
                return
            }
        }
    }

    /// Writes a short text; drops it if the descriptor is not writable within 500 ms.
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
