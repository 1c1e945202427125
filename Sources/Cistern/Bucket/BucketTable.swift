/// A bounded table from organisation names to one fixed-size value each: the inside of one shard, for one thread.
///
/// Open addressing with linear probing over eight-byte slots; a slot holds the place of an entry and some bits of its
/// hash, so that a probe reads an entry only when it is very likely the right one, and the slots can be laid out anew
/// without a look at any. Entries never move, so places and positions stay good for as long as the name is here, and
/// growing costs a newcomer no more than its slots and one segment. Names of up to ``InlineKey/capacity`` bytes stand in
/// the entry itself.
struct BucketTable<Value: BitwiseCopyable>: ~Copyable {
    private typealias Entries = SegmentedBuffer<BucketEntry<Value>>
    /// Where a name's entry stands, for as long as the name is here: quicker to follow than a position.
    typealias Place = SegmentedBuffer<BucketEntry<Value>>.Place

    /// 0 where free, else the number of the entry's place, and above it the lowest bits of its hash, its tag.
    private var slots = UniqueBuffer<UInt64>()
    private var entries = Entries()
    /// Positions in `entries` that no name holds.
    private var vacancies = UniqueBuffer<UInt32>()
    /// Names too long to stand in their entry, by its position.
    private var longKeys: [UInt32: [UInt8]] = [:]
    private var hand = 0

    /// How many names the table holds.
    private(set) var count = 0
    /// How many it may hold.
    let capacity: Int

    /// The largest ``capacity``: a tag tells the right one of as many slots as its bits can number, and a quarter of them
    /// is free.
    static var largestCapacity: Int { Int(tagMask + 1) / 4 * 3 }

    init(capacity: Int) {
        precondition(1...Self.largestCapacity ~= capacity, "a table holds 1 to \(Self.largestCapacity) names")
        self.capacity = capacity
        slots = UniqueBuffer(repeating: 0, count: 8)
    }

    var isFull: Bool { count >= capacity }

    /// The value at a position that `find` or `insert` gave and that has not been evicted since.
    subscript(position: Int) -> Value {
        get { entries[position].value }
        _modify { yield &entries[position].value }
    }

    /// The value at a place that was found and whose name has not been evicted since.
    subscript(place: Place) -> Value {
        get { entries[place].value }
        _modify { yield &entries[place].value }
    }

    func position(of place: Place) -> Int { Int(entries[place].position) }

    /// The position of a name, which counts as used by being looked up.
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        findPlace(key, hash: hash).map { position(of: $0) }
    }

    /// Runs `body` on the value of a name, which counts as used; where there is no such name, the result is `absent`.
    @inline(__always)
    mutating func update<Result>(
        _ key: Span<UInt8>, hash: UInt64, absent: Result, _ body: (inout Value) -> Result
    ) -> Result {
        // As long as a UUID, or nearly.
        guard InlineKey.usualCounts ~= key.count else {
            guard let place = findPlace(key, hash: hash) else { return absent }
            return body(&entries[place].value)
        }
        let name = InlineKey(usual: key)
        let place = find(hash) { $0.mark.nameCount == key.count && $0.key == name }
        guard let place else { return absent }
        entries[place].mark.isRecent = true
        return body(&entries[place].value)
    }

    /// The place of a name, which counts as used by being looked up.
    @inline(never)
    mutating func findPlace(_ key: Span<UInt8>, hash: UInt64) -> Place? {
        let place: Place?
        if key.count <= InlineKey.capacity {
            let name = InlineKey(key)
            place = find(hash) { $0.mark.nameCount == key.count && $0.key == name }
        } else {
            place = find(hash) { entry in longKeys[entry.position].map { key.equals($0) } ?? false }
        }
        if let place { entries[place].mark.isRecent = true }
        return place
    }

    /// The place of the entry of a hash that is the right one.
    @inline(__always)
    private func find(_ hash: UInt64, isRight: (BucketEntry<Value>) -> Bool) -> Place? {
        let mask = slots.count &- 1
        let tag = hash & Self.tagMask
        var slot = Int(truncatingIfNeeded: hash) & mask
        while true {
            let content = slots[slot]
            if content == 0 { return nil }
            if content &>> UInt64(Place.numberBits) == tag {
                let place = Self.place(in: content)
                if isRight(entries[place]) { return place }
            }
            slot = (slot &+ 1) & mask
        }
    }

    // MARK: Slots

    /// How many bits of a hash a slot has room for.
    private static var tagBits: UInt64 { UInt64(64 - Place.numberBits) }
    private static var tagMask: UInt64 { 1 << tagBits - 1 }

    /// The place that a slot in use holds.
    @inline(__always)
    private static func place(in content: UInt64) -> Place {
        Place(number: content & (1 << UInt64(Place.numberBits) - 1))
    }

    /// The slot where the name in a slot would like to stand.
    private static func home(of content: UInt64, mask: Int) -> Int {
        Int(content >> UInt64(Place.numberBits)) & mask
    }

    /// Adds a name that the table does not hold.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        precondition(!isFull, "a full table takes no more names: evict one first")
        if (count + 1) * 4 > slots.count * 3 { growSlots(to: slots.count * 2) }
        let position = vacancies.popLast() ?? UInt32(entries.count)
        let entry = BucketEntry(
            value: value, mark: EntryMark(nameCount: key.count), key: InlineKey(key), position: position)
        if Int(position) < entries.count {
            entries[Int(position)] = entry
        } else {
            entries.append(entry)
        }
        if key.count > InlineKey.capacity { longKeys[position] = key.withUnsafeBufferPointer { Array($0) } }
        let place = entries.place(of: Int(position))
        occupySlot((hash & Self.tagMask) << UInt64(Place.numberBits) | place.number)
        count += 1
        return Int(position)
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
    /// So few that others do not wait for long: a look at one takes some hundred nanoseconds.
    func livePositions(from start: Int) -> (found: [Int], next: Int?) {
        let end = min(entries.count, start + 64)
        return ((start..<max(start, end)).filter { entries[$0].mark.isLive }, end < entries.count ? end : nil)
    }

    /// Looks for a value that may go, removes one and returns it; nil where it found none.
    ///
    /// - Parameter hash: what names were added and are looked up with.
    ///
    /// A hand goes round over the entries and passes those used since it last came by once (the "clock" or
    /// second-chance policy), so a hot name stays. It looks at no more than `steps` entries, which bounds the work of one
    /// insertion, and the next call goes on where this one stopped. Where all that may go among them were in use, the
    /// first of those goes.
    mutating func evict(
        steps: Int = 64, hash: (Span<UInt8>) -> UInt64, where mayGo: (Value) -> Bool
    ) -> Value? {
        guard count > 0 else { return nil }
        var fallback: Int?
        for _ in 0..<min(steps, entries.count) {
            let position = hand
            hand = hand + 1 == entries.count ? 0 : hand + 1
            guard entries[position].mark.isLive, mayGo(entries[position].value) else { continue }
            guard entries[position].mark.isRecent else {
                return remove(at: position, hash: hash)
            }
            entries[position].mark.isRecent = false
            if fallback == nil { fallback = position }
        }
        guard let fallback else { return nil }
        return remove(at: fallback, hash: hash)
    }

    private mutating func remove(at position: Int, hash: (Span<UInt8>) -> UInt64) -> Value {
        let mask = slots.count - 1
        let place = entries.place(of: position)
        var hole = Int(truncatingIfNeeded: hash(key(at: position).span)) & mask
        while Self.place(in: slots[hole]) != place { hole = (hole + 1) & mask }
        // Close the gap: whatever follows and may stand at the hole moves into it, until a free slot ends the run.
        var next = (hole + 1) & mask
        while slots[next] != 0 {
            let home = Self.home(of: slots[next], mask: mask)
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
        for slot in 0..<old.count where old[slot] != 0 { occupySlot(old[slot]) }
    }

    private mutating func occupySlot(_ content: UInt64) {
        let mask = slots.count - 1
        var slot = Self.home(of: content, mask: mask)
        while slots[slot] != 0 { slot = (slot + 1) & mask }
        slots[slot] = content
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
    /// Where it stands among the entries.
    let position: UInt32
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
