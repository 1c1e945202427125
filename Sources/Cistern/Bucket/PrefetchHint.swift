internal import CProcessorHints
internal import Synchronization

/// Where a shard's table has its slots, for whoever wants a slot fetched before the lock is held.
///
/// It tells where they stood when a name was last added. That is for a hint to the processor and nothing else: where the
/// table has moved them meanwhile, a line is fetched that nobody needs. What is decided is read under the lock.
struct PrefetchHint: ~Copyable, Sendable {
    private let address = Atomic<UInt>(0)
    private let mask = Atomic<UInt>(0)

    /// Has the processor fetch the slot where a name with this hash begins to be looked for, and does not wait.
    ///
    /// A slot of a million organizations is as far away as an entry, and tells where the entry is. A load that waits for it would
    /// keep the processor from whatever comes some 300 instructions later; this does not.
    @inline(__always)
    func prefetchSlot(of hash: UInt64) {
        let slot = UInt(truncatingIfNeeded: hash) & mask.load(ordering: .relaxed)
        processor_fetch_line(address.load(ordering: .relaxed) &+ slot &* UInt(MemoryLayout<UInt64>.size))
    }

    /// Notes where the slots stand; where nothing has changed it writes nothing, which would take the line from all who read it.
    func note(_ slots: borrowing HashIndex) {
        if isPlace(of: slots) { return }
        address.store(slots.address, ordering: .relaxed)
        mask.store(UInt(slots.count - 1), ordering: .relaxed)
    }

    /// Whether these are the slots that stand where was noted.
    func isPlace(of slots: borrowing HashIndex) -> Bool {
        address.load(ordering: .relaxed) == slots.address && mask.load(ordering: .relaxed) == UInt(slots.count - 1)
    }
}

/// Of each shard of a store, where its slots stand; apart from the locks, since all threads read this and hardly any writes it.
///
/// Sendable, unchecked: the places are atomic, and stand where they do for as long as this lives.
final class PrefetchHints: @unchecked Sendable {
    private let places: UnsafeMutablePointer<PrefetchHint>
    private let selector: ShardSelector

    init(_ selector: ShardSelector) {
        self.selector = selector
        places = .allocate(capacity: selector.count)
        for index in 0..<selector.count { (places + index).initialize(to: PrefetchHint()) }
    }

    deinit { places.deinitialize(count: selector.count).deallocate() }

    /// That of the shard with a number, which is not checked.
    subscript(index: Int) -> PrefetchHint {
        @inline(__always) unsafeAddress { UnsafePointer(places + index) }
    }

    /// As ``PrefetchHint/prefetchSlot(of:)``, of whichever shard a name with this hash belongs to.
    @inline(__always)
    func prefetchSlot(of hash: UInt64) { self[selector.index(of: hash)].prefetchSlot(of: hash) }
}

/// Which of a power of two of shards a name belongs to.
struct ShardSelector: Sendable, BitwiseCopyable {
    private let mask: UInt64

    init(count: Int) {
        precondition(count > 0 && count & (count - 1) == 0, "no number of shards")
        mask = UInt64(count - 1)
    }

    var count: Int { Int(mask) + 1 }

    /// The highest sixteen bits choose it, since the table in it is indexed by the lowest.
    @inline(__always)
    func index(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 48 & mask) }
}
