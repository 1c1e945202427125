internal import CJemalloc

/// Statistics of jemalloc, which is linked into this process and sees every allocation.
enum Jemalloc {
    /// Returns the bytes that all threads have allocated and not freed.
    static func allocatedBytes() -> Int {
        // Statistics are those of the last epoch; this begins a new one.
        var epoch: UInt64 = 1
        mallctl("epoch", nil, nil, &epoch, MemoryLayout<UInt64>.size)
        var bytes = 0
        var size = MemoryLayout<Int>.size
        let status = mallctl("stats.allocated", &bytes, &size, nil, 0)
        precondition(status == 0, "jemalloc keeps no statistics")
        return bytes
    }

    /// Returns the bytes that this thread has ever allocated.
    static func allocatedByThisThread() -> UInt64 {
        var bytes: UInt64 = 0
        var size = MemoryLayout<UInt64>.size
        let status = mallctl("thread.allocated", &bytes, &size, nil, 0)
        precondition(status == 0, "jemalloc keeps no statistics")
        return bytes
    }

    /// Returns freed memory to the system now, so that this does not happen during a measurement.
    static func purge() {
        // All arenas: MALLCTL_ARENAS_ALL.
        let status = mallctl("arena.4096.purge", nil, nil, nil, 0)
        precondition(status == 0, "jemalloc cannot purge all arenas")
    }
}
