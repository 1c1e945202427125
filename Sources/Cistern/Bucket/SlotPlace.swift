internal import CProcessorHints
internal import Synchronization

/// Where a shard's table has its slots, for whoever wants a slot fetched before the lock is held.
///
/// It tells where they stood when a name was last added. That is for a hint to the processor and nothing else: where the
/// table has moved them meanwhile, a line is fetched that nobody needs. What is decided is read under the lock.
struct SlotPlace: ~Copyable, Sendable {
    private let address = Atomic<UInt>(0)
    private let mask = Atomic<UInt>(0)

    /// Has the processor fetch the slot where a name with this hash begins to be looked for, and does not wait.
    ///
    /// A slot of a million organisations is as far away as an entry, and tells where the entry is. A load that waits for it would
    /// keep the processor from whatever comes some 300 instructions later; this does not.
    @inline(__always)
    func fetchSlot(of hash: UInt64) {
        let slot = UInt(truncatingIfNeeded: hash) & mask.load(ordering: .relaxed)
        processor_fetch_line(address.load(ordering: .relaxed) &+ slot &* UInt(MemoryLayout<UInt64>.size))
    }

    /// Notes where the slots stand; where nothing has changed it writes nothing, which would take the line from all who read it.
    func note(_ slots: borrowing Slots) {
        if isPlace(of: slots) { return }
        address.store(slots.address, ordering: .relaxed)
        mask.store(UInt(slots.count - 1), ordering: .relaxed)
    }

    /// Whether these are the slots that stand where was noted.
    func isPlace(of slots: borrowing Slots) -> Bool {
        address.load(ordering: .relaxed) == slots.address && mask.load(ordering: .relaxed) == UInt(slots.count - 1)
    }
}
