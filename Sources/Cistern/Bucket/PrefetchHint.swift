internal import CProcessorHints
internal import Synchronization

/// The location of a shard's hash index, for prefetching a slot before the lock is held.
///
/// The location is as of the last insertion and is only a hint to the processor: if the table has moved its slots
/// since, the prefetch fetches a useless line. Decisions read the slots under the lock.
struct PrefetchHint: ~Copyable, Sendable {
    private let address = Atomic<UInt>(0)
    private let mask = Atomic<UInt>(0)

    /// Prefetches the slot at which the lookup of this hash starts, without waiting.
    ///
    /// With a million keys, slot and entry are both cache misses, one after the other. A load would stall the processor
    /// some 300 instructions later; a prefetch does not.
    @inline(__always)
    func prefetchSlot(of hash: UInt64) {
        let slot = UInt(truncatingIfNeeded: hash) & mask.load(ordering: .relaxed)
        processor_fetch_line(address.load(ordering: .relaxed) &+ slot &* UInt(MemoryLayout<UInt64>.size))
    }

    /// Records where the slots are.
    ///
    /// Writes only on a change, since a write takes the cache line from all readers.
    func update(_ slots: borrowing HashIndex) {
        if isCurrent(slots) { return }
        address.store(slots.address, ordering: .relaxed)
        mask.store(UInt(slots.count - 1), ordering: .relaxed)
    }

    /// Whether the recorded location is that of `slots`.
    func isCurrent(_ slots: borrowing HashIndex) -> Bool {
        address.load(ordering: .relaxed) == slots.address && mask.load(ordering: .relaxed) == UInt(slots.count - 1)
    }
}

/// The prefetch hints of a store's shards; apart from the locks, since all threads read them and writes are rare.
///
/// Sendable, unchecked: the hints are atomic, and their addresses are fixed for the lifetime of this object.
final class PrefetchHints: @unchecked Sendable {
    private let hints: UnsafeMutablePointer<PrefetchHint>
    private let selector: ShardSelector

    init(_ selector: ShardSelector) {
        self.selector = selector
        hints = .allocate(capacity: selector.count)
        for index in 0..<selector.count { (hints + index).initialize(to: PrefetchHint()) }
    }

    deinit { hints.deinitialize(count: selector.count).deallocate() }

    /// The hint of the shard at an index, which is not checked.
    subscript(index: Int) -> PrefetchHint {
        @inline(__always) unsafeAddress { UnsafePointer(hints + index) }
    }

    /// The hint of the shard that a hash belongs to.
    subscript(of hash: UInt64) -> PrefetchHint {
        @inline(__always) unsafeAddress { UnsafePointer(hints + selector.index(of: hash)) }
    }

    /// Prefetches the slot of a hash in its shard; see ``PrefetchHint/prefetchSlot(of:)``.
    @inline(__always)
    func prefetchSlot(of hash: UInt64) { self[of: hash].prefetchSlot(of: hash) }
}

/// Maps a hash to one of a number of shards, which is a power of two.
struct ShardSelector: Sendable, BitwiseCopyable {
    private let mask: UInt64

    init(count: Int) {
        precondition(count > 0 && count & (count - 1) == 0, "the shard count must be a power of two")
        mask = UInt64(count - 1)
    }

    var count: Int { Int(mask) + 1 }

    /// Uses the highest 16 bits, because the hash index of the shard uses the lowest.
    @inline(__always)
    func index(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 48 & mask) }
}
