internal import CJemalloc

/// Keeps jemalloc linked, which replaces the system's allocator, and returns its version.
enum Allocator {
    static var version: String {
        var version: UnsafePointer<CChar>?
        var size = MemoryLayout.size(ofValue: version)
        guard mallctl("version", &version, &size, nil, 0) == 0, let version else { return "unknown" }
        return String(cString: version)
    }
}
