import CJemalloc

/// Counts memory allocations with jemalloc's counters.
///
/// The test process is linked with jemalloc, so every `malloc` in it is counted.
enum AllocationCounter {
    /// Bytes that this thread has allocated since it began.
    static func bytesOfThisThread() -> UInt64 {
        var bytes: UInt64 = 0
        var size = MemoryLayout<UInt64>.size
        let status = mallctl("thread.allocated", &bytes, &size, nil, 0)
        precondition(status == 0, "jemalloc keeps no statistics")
        return bytes
    }
}
