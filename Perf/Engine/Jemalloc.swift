internal import CJemalloc

/// The allocator's own counts; this process is linked with it, so it sees every allocation.
enum Jemalloc {
    /// Bytes that are allocated now, by all threads.
    static func allocatedBytes() -> Int {
        // The counts are those of the last epoch; a new one begins with this.
        var epoch: UInt64 = 1
        mallctl("epoch", nil, nil, &epoch, MemoryLayout<UInt64>.size)
        var bytes = 0
        var size = MemoryLayout<Int>.size
        let status = mallctl("stats.allocated", &bytes, &size, nil, 0)
        precondition(status == 0, "jemalloc keeps no statistics")
        return bytes
    }

    /// Bytes that this thread has ever allocated.
    static func allocatedByThisThread() -> UInt64 {
        var bytes: UInt64 = 0
        var size = MemoryLayout<UInt64>.size
        let status = mallctl("thread.allocated", &bytes, &size, nil, 0)
        precondition(status == 0, "jemalloc keeps no statistics")
        return bytes
    }

    /// Gives what was freed back to the system now, instead of while something is measured.
    static func purge() {
        // All arenas: MALLCTL_ARENAS_ALL.
        let status = mallctl("arena.4096.purge", nil, nil, nil, 0)
        precondition(status == 0, "jemalloc has no such control")
    }
}
