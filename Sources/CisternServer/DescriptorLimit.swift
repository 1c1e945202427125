internal import Foundation

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// How many files and sockets the process may have open.
struct DescriptorLimit {
    /// How many connections the limit has room for, beside whatever else the server opens.
    let connections: Int

    /// Raises the soft limit, as far as it may be and is needed.
    ///
    /// - Parameters:
    ///   - wanted: connections that shall be possible.
    ///   - reserved: descriptors that are needed beside those.
    static func raise(for wanted: Int, reserved: Int) -> DescriptorLimit {
        var limit = rlimit()
        #if canImport(Darwin)
            let resource = RLIMIT_NOFILE
        #else
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #endif
        guard getrlimit(resource, &limit) == 0 else { return DescriptorLimit(connections: wanted) }
        let needed = rlim_t(wanted + reserved)
        if limit.rlim_cur < needed, limit.rlim_cur < limit.rlim_max {
            var raised = limit
            // Some to spare, for what is opened now and then.
            raised.rlim_cur = min(needed + 512, limit.rlim_max)
            // A sandbox may forbid it; then the limit of before holds.
            if setrlimit(resource, &raised) == 0 { limit = raised }
        }
        let all = Int(clamping: limit.rlim_cur)
        return DescriptorLimit(connections: max(1, min(wanted, all - reserved)))
    }

    /// Descriptors that the process has open now.
    static var openCount: Int {
        let usualCount = 32
        return (try? FileManager.default.contentsOfDirectory(atPath: "/dev/fd").count) ?? usualCount
    }
}
