internal import Foundation

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// The process's limit of open files and sockets.
struct DescriptorLimit {
    /// How many connections fit within the limit, besides the reserved descriptors.
    let connections: Int

    /// Raises the soft limit as far as needed and permitted.
    ///
    /// - Parameters:
    ///   - wanted: the number of connections to allow.
    ///   - reserved: descriptors needed for other purposes.
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
            // Spare descriptors for files that are opened occasionally.
            raised.rlim_cur = min(needed + 512, limit.rlim_max)
            // A sandbox may forbid it; then the previous limit applies.
            if setrlimit(resource, &raised) == 0 { limit = raised }
        }
        let all = Int(clamping: limit.rlim_cur)
        return DescriptorLimit(connections: max(1, min(wanted, all - reserved)))
    }

    /// The number of descriptors that the process has open.
    static var openCount: Int {
        let usualCount = 32
        return (try? FileManager.default.contentsOfDirectory(atPath: "/dev/fd").count) ?? usualCount
    }
}
