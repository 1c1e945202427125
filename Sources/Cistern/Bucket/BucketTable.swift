/// A bounded table from organisation names to one fixed-size value each: the inside of one shard, for one thread.
///
/// Open addressing with linear probing over eight-byte slots; a slot holds the position of an entry and half of its
/// hash, so that a probe reads an entry only when it is almost surely the right one. Entries do not move when others
/// come and go, so a position stays good for as long as the entry lives. Names of up to
/// ``InlineKey/capacity`` bytes stand in the entry itself.
struct BucketTable<Value: BitwiseCopyable>: ~Copyable {
    /// 0 where free, else the entry's position plus one in the low half and the high half of its hash above it.
    private var slots = UniqueBuffer<UInt64>()
    private var entries = UniqueBuffer<BucketEntry<Value>>()
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
        growSlots(to: 8)
    }

    var isFull: Bool { count >= capacity }

    /// The value at a position that `find` or `insert` gave and that has not been evicted since.
    subscript(position: Int) -> Value {
        get { entries[position].value }
        _modify { yield &entries[position].value }
    }

    /// The position of a name, which counts as used by being looked up.
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        let mask = slots.count &- 1
        let tag = hash >> 32
        var slot = Int(truncatingIfNeeded: hash) & mask
        while true {
            let content = slots[slot]
            if content == 0 { return nil }
            if content >> 32 == tag {
                let position = Int(truncatingIfNeeded: content & 0xffff_ffff) &- 1
                if holds(key, hash: hash, at: position) {
                    entries[position].isRecent = true
                    return position
                }
            }
            slot = (slot &+ 1) & mask
        }
    }

    /// Adds a name that the table does not hold.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        precondition(!isFull, "a full table takes no more names: evict one first")
        if (count + 1) * 4 > slots.count * 3 { growSlots(to: slots.count * 2) }
        let entry = BucketEntry(value: value, hash: hash, key: InlineKey(key), isRecent: true, isLive: true)
        let position: Int
        if let vacancy = vacancies.popLast() {
            position = Int(vacancy)
            entries[position] = entry
        } else {
            position = entries.count
            entries.append(entry)
        }
        if key.count > InlineKey.capacity { longKeys[UInt32(position)] = key.withUnsafeBufferPointer { Array($0) } }
        occupySlot(hash: hash, position: position)
        count += 1
        return position
    }

    /// The name at a position.
    func key(at position: Int) -> [UInt8] {
        longKeys[UInt32(position)] ?? entries[position].key.bytes
    }

    /// One beyond the last position that may hold a name.
    var endPosition: Int { entries.count }

    /// Whether a position holds a name.
    func isLive(_ position: Int) -> Bool {
        entries[position].isLive
    }

    /// The names among a few positions from `start` on, and where to go on; nil at the end.
    ///
    /// So few that others do not wait for the lock: a look at one takes some hundred nanoseconds.
    func livePositions(from start: Int) -> (found: [Int], next: Int?) {
        let end = min(entries.count, start + 64)
        return ((start..<max(start, end)).filter { entries[$0].isLive }, end < entries.count ? end : nil)
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
            guard entries[position].isLive, mayGo(entries[position].value) else { continue }
            guard entries[position].isRecent else {
                return remove(at: position)
            }
            entries[position].isRecent = false
            if fallback == nil { fallback = position }
        }
        guard let fallback else { return nil }
        return remove(at: fallback)
    }

    private mutating func remove(at position: Int) -> Value {
        let mask = slots.count - 1
        var hole = Int(truncatingIfNeeded: entries[position].hash) & mask
        while slots[hole] & 0xffff_ffff != UInt64(position + 1) { hole = (hole + 1) & mask }
        // Close the gap: whatever follows and may stand at the hole moves into it, until a free slot ends the run.
        var next = (hole + 1) & mask
        while slots[next] != 0 {
            let home = Int(truncatingIfNeeded: entries[Int(slots[next] & 0xffff_ffff) - 1].hash) & mask
            if (next - home) & mask >= (next - hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        slots[hole] = 0
        entries[position].isLive = false
        longKeys[UInt32(position)] = nil
        vacancies.append(UInt32(position))
        count -= 1
        return entries[position].value
    }

    @inline(__always)
    private func holds(_ key: Span<UInt8>, hash: UInt64, at position: Int) -> Bool {
        guard entries[position].hash == hash, entries[position].key.count == key.count else { return false }
        if key.count <= InlineKey.capacity { return entries[position].key.matches(key) }
        guard let long = longKeys[UInt32(position)] else { return false }
        return key.indices.allSatisfy { long[$0] == key[$0] }
    }

    private mutating func growSlots(to slotCount: Int) {
        slots = UniqueBuffer(repeating: 0, count: slotCount)
        for position in 0..<entries.count where entries[position].isLive {
            occupySlot(hash: entries[position].hash, position: position)
        }
    }

    private mutating func occupySlot(hash: UInt64, position: Int) {
        let mask = slots.count - 1
        var slot = Int(truncatingIfNeeded: hash) & mask
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = (hash & ~0xffff_ffff) | UInt64(position + 1)
    }
}

/// One name and its value. (Not nested in the table: the compiler, 6.3.1, breaks off on a private type there.)
struct BucketEntry<Value: BitwiseCopyable>: BitwiseCopyable {
    var value: Value
    let hash: UInt64
    /// The name, or nothing but its length where it is too long.
    let key: InlineKey
    /// Used since the eviction hand last came by.
    var isRecent: Bool
    var isLive: Bool
}
