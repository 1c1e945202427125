internal import CJemalloc

/// Keeps jemalloc linked, which replaces the system's allocator, and says which version it is.
enum Allocator {
    static var version: String {
        var version: UnsafePointer<CChar>?
        var size = MemoryLayout.size(ofValue: version)
        guard mallctl("version", &version, &size, nil, 0) == 0, let version else { return "unknown" }
        return String(cString: version)
    }
}
