internal import Foundation

/// How many files and sockets this process may have open.
enum FileLimit {
    /// Raises the limit to `wanted`, as far as the system allows.
    ///
    /// - Throws: `PerfError` if the system allows fewer.
    static func ensure(_ wanted: Int) throws(PerfError) {
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < rlim_t(wanted) else { return }
        let hard = limit.rlim_max
        limit.rlim_cur = min(rlim_t(wanted), hard)
        guard setrlimit(resource, &limit) == 0, limit.rlim_cur >= rlim_t(wanted) else {
            throw PerfError(
                "\(wanted) files and sockets are needed, and this process may open \(hard): "
                    + "raise the limit with 'ulimit -n \(wanted)', or use fewer --connections", .unavailable)
        }
    }

    #if os(Linux)
        private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    #else
        private static let resource = RLIMIT_NOFILE
    #endif
}
