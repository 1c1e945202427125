/// A bounded table from organisation names to one fixed-size value each: the inside of one shard, for one thread.
///
/// Open addressing with linear probing over eight-byte slots; a slot holds the position of an entry and half of its
/// hash, so that a probe reads an entry only when it is almost surely the right one, and the slots can be laid out anew
/// without a look at any. Entries never move, so a position stays good for as long as the entry lives, and growing costs
/// a newcomer no more than its slots and one segment. Names of up to ``InlineKey/capacity`` bytes stand in the entry
/// itself.
struct BucketTable<Value: BitwiseCopyable>: ~Copyable {
    /// 0 where free, else the entry's position plus one in the low half and the low half of its hash, its tag, above it.
    private var slots = UniqueBuffer<UInt64>()
    private var entries = SegmentedBuffer<BucketEntry<Value>>()
    /// Positions in `entries` that no name holds.
    private var vacancies = UniqueBuffer<UInt32>()
    /// Names too long to stand in their entry, by its position.
    private var longKeys: [UInt32: [UInt8]] = [:]
    private var hand = 0

    /// How many names the table holds.
    private(set) var count = 0
    /// How many it may hold.
    let capacity: Int

    init(capacity: Int) {
        precondition(capacity > 0 && capacity < 1 << 31, "a shard holds between 1 and 2^31 buckets")
        self.capacity = capacity
        slots = UniqueBuffer(repeating: 0, count: 8)
    }

    var isFull: Bool { count >= capacity }

    /// The value at a position that `find` or `insert` gave and that has not been evicted since.
    subscript(position: Int) -> Value {
        get { entries[position].value }
        _modify { yield &entries[position].value }
    }

    /// The position of a name, which counts as used by being looked up.
    @inline(__always)
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        update(key, hash: hash) { _, position in position }
    }

    /// Runs `body` on the value of a name, which counts as used, and on its position; nil where there is no such name.
    @inline(__always)
    mutating func update<Result>(
        _ key: Span<UInt8>, hash: UInt64, _ body: (inout Value, _ position: Int) -> Result
    ) -> Result? {
        let count = key.count
        guard count <= InlineKey.capacity else {
            guard let position = findLong(key, hash: hash) else { return nil }
            return body(&entries[position].value, position)
        }
        let mask = slots.count &- 1
        let tag = UInt32(truncatingIfNeeded: hash)
        let name = InlineKey(key)
        var slot = Int(truncatingIfNeeded: tag) & mask
        while true {
            let content = slots[slot]
            if content == 0 { return nil }
            if UInt32(truncatingIfNeeded: content >> 32) == tag {
                let position = Int(truncatingIfNeeded: content & 0xffff_ffff) &- 1
                let result = entries.update(position) { entry -> Result? in
                    guard entry.mark.nameCount == count, entry.key == name else { return nil }
                    entry.mark.isRecent = true
                    return body(&entry.value, position)
                }
                if let result { return result }
            }
            slot = (slot &+ 1) & mask
        }
    }

    /// The position of a name that is too long to stand in its entry.
    @inline(never)
    private mutating func findLong(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        let mask = slots.count - 1
        let tag = UInt32(truncatingIfNeeded: hash)
        var slot = Int(tag) & mask
        while slots[slot] != 0 {
            let position = UInt32(truncatingIfNeeded: slots[slot]) - 1
            if slots[slot] >> 32 == UInt64(tag), let long = longKeys[position], key.equals(long) {
                entries[Int(position)].mark.isRecent = true
                return Int(position)
            }
            slot = (slot + 1) & mask
        }
        return nil
    }

    /// Adds a name that the table does not hold.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        precondition(!isFull, "a full table takes no more names: evict one first")
        if (count + 1) * 4 > slots.count * 3 { growSlots(to: slots.count * 2) }
        let entry = BucketEntry(
            value: value, mark: EntryMark(nameCount: key.count), key: InlineKey(key),
            tag: UInt32(truncatingIfNeeded: hash))
        let position: Int
        if let vacancy = vacancies.popLast() {
            position = Int(vacancy)
            entries[position] = entry
        } else {
            position = entries.count
            entries.append(entry)
        }
        if key.count > InlineKey.capacity { longKeys[UInt32(position)] = key.withUnsafeBufferPointer { Array($0) } }
        occupySlot(tag: entry.tag, position: position)
        count += 1
        return position
    }

    /// Writes down where the slots stand.
    func noteSlots(in place: borrowing SlotPlace) { place.note(slots) }

    /// Whether the slots stand where is written down.
    func hasSlots(in place: borrowing SlotPlace) -> Bool { place.isPlace(of: slots) }

    /// The name at a position.
    func key(at position: Int) -> [UInt8] {
        longKeys[UInt32(position)] ?? entries[position].key.bytes(entries[position].mark.nameCount)
    }

    /// One beyond the last position that may hold a name.
    var endPosition: Int { entries.count }

    /// Whether a position holds a name.
    func isLive(_ position: Int) -> Bool {
        entries[position].mark.isLive
    }

    /// The names among a few positions from `start` on, and where to go on; nil at the end.
    ///
    /// So few that others do not wait for the lock: a look at one takes some hundred nanoseconds.
    func livePositions(from start: Int) -> (found: [Int], next: Int?) {
        let end = min(entries.count, start + 64)
        return ((start..<max(start, end)).filter { entries[$0].mark.isLive }, end < entries.count ? end : nil)
    }

    /// Looks for a value that may go, removes one and returns it; nil where it found none.
    ///
    /// A hand goes round over the entries and passes those used since it last came by once (the "clock" or
    /// second-chance policy), so a hot name stays. It looks at no more than `steps` entries, which bounds the work of one
    /// insertion, and the next call goes on where this one stopped. Where all that may go among them were in use, the
    /// first of those goes.
    mutating func evict(steps: Int = 64, where mayGo: (Value) -> Bool) -> Value? {
        guard count > 0 else { return nil }
        var fallback: Int?
        for _ in 0..<min(steps, entries.count) {
            let position = hand
            hand = hand + 1 == entries.count ? 0 : hand + 1
            guard entries[position].mark.isLive, mayGo(entries[position].value) else { continue }
            guard entries[position].mark.isRecent else {
                return remove(at: position)
            }
            entries[position].mark.isRecent = false
            if fallback == nil { fallback = position }
        }
        guard let fallback else { return nil }
        return remove(at: fallback)
    }

    private mutating func remove(at position: Int) -> Value {
        let mask = slots.count - 1
        var hole = Int(entries[position].tag) & mask
        while slots[hole] & 0xffff_ffff != UInt64(position + 1) { hole = (hole + 1) & mask }
        // Close the gap: whatever follows and may stand at the hole moves into it, until a free slot ends the run.
        var next = (hole + 1) & mask
        while slots[next] != 0 {
            let home = Int(slots[next] >> 32) & mask
            if (next - home) & mask >= (next - hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole] = 0
        entries[position].mark.isLive = false
        longKeys[UInt32(position)] = nil
        vacancies.append(UInt32(position))
        count -= 1
        return entries[position].value
    }

    /// Lays the slots out anew: from what stands in them, without a look at the entries.
    private mutating func growSlots(to slotCount: Int) {
        var old = UniqueBuffer<UInt64>(repeating: 0, count: slotCount)
        swap(&old, &slots)
        for slot in 0..<old.count where old[slot] != 0 {
            occupySlot(tag: UInt32(truncatingIfNeeded: old[slot] >> 32), position: Int(old[slot] & 0xffff_ffff) - 1)
        }
    }

    private mutating func occupySlot(tag: UInt32, position: Int) {
        let mask = slots.count - 1
        var slot = Int(tag) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = UInt64(tag) << 32 | UInt64(position + 1)
    }
}

/// One name and its value. (Not nested in the table: the compiler, 6.3.1, breaks off on a private type there.)
///
/// The order of the fields leaves no gap: an organisation with a lease takes 160 bytes, one with a bucket 72.
struct BucketEntry<Value: BitwiseCopyable>: BitwiseCopyable {
    var value: Value
    var mark: EntryMark
    /// The name, or nothing where it is too long.
    let key: InlineKey
    /// The half of the name's hash that stands in its slot.
    let tag: UInt32
}

/// What a table notes of an entry, in one byte.
struct EntryMark: BitwiseCopyable {
    private var bits: UInt8

    /// The mark of a new entry: alive, and just used.
    init(nameCount: Int) {
        bits = UInt8(min(nameCount, 0x3f)) | 0xc0
    }

    /// The length of the name, or 63 of one that is too long to stand in the entry.
    var nameCount: Int { Int(bits & 0x3f) }

    /// Used since the eviction hand last came by.
    var isRecent: Bool {
        get { bits & 0x40 != 0 }
        set { bits = newValue ? bits | 0x40 : bits & ~0x40 }
    }

    /// Whether a name holds the entry.
    var isLive: Bool {
        get { bits & 0x80 != 0 }
        set { bits = newValue ? bits | 0x80 : bits & ~0x80 }
    }
}
