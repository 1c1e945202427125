/// A value of a table: what a decision mostly needs of it stands beside the name, on one cache line, and the rest elsewhere.
protocol TableValue: BitwiseCopyable {
    /// What stands beside the name: up to 24 bytes, the last ones of a value.
    associatedtype Near: BitwiseCopyable
    /// As many bytes as come before those.
    associatedtype Far: BitwiseCopyable
}

/// A bounded table from organisation names to one fixed-size value each: the inside of one shard, for one thread.
///
/// A hash table (``Slots``) of the places where the entries stand. Entries never move, so places and positions stay good
/// for as long as the name is here, and growing costs a newcomer no more than its slots and one segment. Names of up to
/// ``InlineKey/capacity`` bytes stand in the entry itself.
struct BucketTable<Value: TableValue>: ~Copyable {
    private typealias Entries = SegmentedBuffer<BucketEntry<Value.Near>, Value.Far>
    /// Where the entries of all tables of a store stand.
    typealias Pool = SegmentPool<BucketEntry<Value.Near>, Value.Far>
    /// Where a name's entry stands, for as long as the name is here: quicker to follow than a position.
    typealias Place = SegmentedBuffer<BucketEntry<Value.Near>, Value.Far>.Place

    /// A value as it lies in one piece.
    private struct Whole: BitwiseCopyable {
        var far: Value.Far
        var near: Value.Near
    }

    private var slots = Slots(count: 8)
    private var entries: Entries
    /// Positions in `entries` that no name holds.
    private var vacancies: [UInt32] = []
    /// Names too long to stand in their entry, by its position.
    private var longKeys: [UInt32: [UInt8]] = [:]
    private var hand = 0
    private var bounds = EvictionBounds()
    /// Names that came while the table was nearly full and have not been used since.
    private(set) var guestCount = 0

    /// How many names the table holds.
    private(set) var count = 0
    /// How many it may hold.
    let capacity: Int

    /// The largest ``capacity``: a quarter of the slots is free.
    static var largestCapacity: Int { Slots.largestCount / 4 * 3 }

    init(capacity: Int, pool: Pool) {
        precondition(1...Self.largestCapacity ~= capacity, "a table holds 1 to \(Self.largestCapacity) names")
        precondition(Place.numberBits <= Slots.placeBits, "a slot has no room for the number of a place")
        precondition(
            MemoryLayout<Whole>.size == MemoryLayout<Value>.size
                && MemoryLayout<Whole>.offset(of: \.near) == MemoryLayout<Value>.size - MemoryLayout<Value.Near>.size,
            "a value consists of its two parts")
        self.capacity = capacity
        entries = Entries(pool: pool)
    }

    var isFull: Bool { count >= capacity }

    /// The value at a position that `find` or `insert` gave and that has not been evicted since.
    subscript(position: Int) -> Value {
        get { self[entries.place(of: position)] }
        set { self[entries.place(of: position)] = newValue }
    }

    /// The value at a place that was found and whose name has not been evicted since.
    ///
    /// It is put together of its parts, and taken apart where it has been changed.
    subscript(place: Place) -> Value {
        @inline(__always) get {
            unsafeBitCast(Whole(far: entries[far: place], near: entries[near: place].value), to: Value.self)
        }
        // No `_modify`: what it would keep of the value while somebody changes it would be allocated.
        set {
            let whole = unsafeBitCast(newValue, to: Whole.self)
            (entries[far: place], entries[near: place].value) = (whole.far, whole.near)
        }
    }

    /// The part that stands beside the name, of a value at a place that was found and whose name has not been evicted since.
    subscript(near place: Place) -> Value.Near {
        @inline(__always) get { entries[near: place].value }
        @inline(__always) _modify { yield &entries[near: place].value }
    }

    func position(of place: Place) -> Int { entries[near: place].mark.position }

    /// The position of a name, which counts as used by being looked up.
    @inline(never)
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        findPlace(key, hash: hash).map { position(of: $0) }
    }

    /// Runs `body` on what stands beside a name, which counts as used; where there is no such name, the result is `absent`.
    @inline(__always)
    mutating func update<Result>(
        _ key: Span<UInt8>, hash: UInt64, absent: Result, _ body: (inout Value.Near) -> Result
    ) -> Result {
        guard let place = findPlace(key, hash: hash) else { return absent }
        return body(&entries[near: place].value)
    }

    /// The place of a name, which counts as used by being looked up.
    @inline(__always)
    mutating func findPlace(_ key: Span<UInt8>, hash: UInt64) -> Place? {
        // As long as a UUID, or nearly.
        guard InlineKey.usualCounts ~= key.count else { return findUnusual(key, hash: hash) }
        let name = InlineKey(usual: key)
        let place = find(hash) { $0.isOf(name, count: key.count) }
        if let place { entries[near: place].noteUse() }
        return place
    }

    @inline(never)
    private mutating func findUnusual(_ key: Span<UInt8>, hash: UInt64) -> Place? {
        let place: Place?
        if key.count <= InlineKey.capacity {
            let name = InlineKey(key)
            place = find(hash) { $0.isOf(name, count: key.count) }
        } else {
            place = find(hash) { entry in longKeys[UInt32(entry.mark.position)].map { key.equals($0) } ?? false }
        }
        if let place { entries[near: place].noteUse() }
        return place
    }

    /// The place of the entry of a hash that is the right one.
    @inline(__always)
    private func find(_ hash: UInt64, isRight: (BucketEntry<Value.Near>) -> Bool) -> Place? {
        slots.find(hash) { isRight(entries[near: Place(number: $0)]) }.map { Place(number: $0) }
    }

    /// Adds a name that the table does not hold.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        let isGuest = count * 4 > capacity * 3
        precondition(!isFull, "a full table takes no more names: evict one first")
        if (count + 1) * 4 > slots.count * 3 { slots.grow() }
        let position = vacancies.popLast().map { Int($0) } ?? entries.count
        let whole = unsafeBitCast(value, to: Whole.self)
        let entry = BucketEntry(
            value: whole.near, key: InlineKey(key),
            mark: EntryMark(nameCount: key.count, position: position, isGuest: isGuest))
        if isGuest { guestCount += 1 }
        bounds.noteChange(at: position)
        if position < entries.count {
            let place = entries.place(of: position)
            (entries[near: place], entries[far: place]) = (entry, whole.far)
        } else {
            entries.append(near: entry, far: whole.far)
        }
        if key.count > InlineKey.capacity { longKeys[UInt32(position)] = key.withUnsafeBufferPointer { Array($0) } }
        slots.insert(entries.place(of: position).number, hash: hash)
        count += 1
        return position
    }

    /// Writes down where the slots stand.
    func noteSlots(in place: borrowing SlotPlace) { place.note(slots) }

    /// Whether the slots stand where is written down.
    func hasSlots(in place: borrowing SlotPlace) -> Bool { place.isPlace(of: slots) }

    /// The name at a position.
    func key(at position: Int) -> [UInt8] {
        let entry = entry(at: position)
        return longKeys[UInt32(position)] ?? entry.key.bytes(entry.mark.nameCount)
    }

    private func entry(at position: Int) -> BucketEntry<Value.Near> { entries[near: entries.place(of: position)] }

    /// One beyond the last position that may hold a name.
    var endPosition: Int { entries.count }

    /// Whether a position holds a name.
    func isLive(_ position: Int) -> Bool { entry(at: position).mark.isLive }

    /// The names among a few positions from `start` on, and where to go on; nil at the end.
    ///
    /// So few that others do not wait for long: a look at one takes some hundred nanoseconds.
    func livePositions(from start: Int) -> (found: [Int], next: Int?) {
        let end = min(entries.count, start + 64)
        return ((start..<max(start, end)).filter { isLive($0) }, end < entries.count ? end : nil)
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
            let place = entries.place(of: position)
            guard entries[near: place].mark.isLive, mayGo(self[place]) else { continue }
            guard entries[near: place].mark.isRecent else { return remove(at: position, hash: hash) }
            entries[near: place].mark.isRecent = false
            if fallback == nil { fallback = position }
        }
        guard let fallback else { return nil }
        return remove(at: fallback, hash: hash)
    }

    /// Removes a value that may be forgotten, and returns it; nil where none may now.
    ///
    /// Names that came while the table was nearly full and were not used again go first. They never take more than a
    /// quarter of the room from the others, so a flood of new names leaves those that were there before. It finds a
    /// value if there is one; what it learns in vain is kept, so that the next call needs to look at nothing.
    ///
    /// - Parameters:
    ///   - now: in milliseconds.
    ///   - hash: what names were added and are looked up with.
    ///   - forgettable: from when on a value may be forgotten, and when it was last used. The first may come later than it
    ///     was, but only by ``insert(_:hash:value:)`` or with ``forgetBounds()`` earlier.
    mutating func evict(
        now: Int64, hash: (Span<UInt8>) -> UInt64, forgettable: (Value) -> (from: Int64, usedAt: Int64)
    ) -> Value? {
        let sparing = guestCount * 4 >= capacity
        // Taken out, since what looks needs the table.
        var bounds = EvictionBounds()
        swap(&bounds, &self.bounds)
        let due = bounds.firstDue(
            sparing, now: now, count: entries.count,
            { positions in
                var (victim, isVictimGuest, earliest) = (Int?.none, false, Int64.max)
                for position in positions {
                    let place = entries.place(of: position)
                    guard entries[near: place].mark.isLive else { continue }
                    let mark = entries[near: place].mark
                    if mark.isGuest, mark.isRecent { promote(place) }
                    let isGuest = entries[near: place].mark.isGuest
                    let (from, usedAt) = forgettable(self[place])
                    let due = sparing && !isGuest ? max(from, usedAt + EvictionBounds.sparedMilliseconds) : from
                    earliest = min(earliest, due)
                    if due <= now, victim == nil || isGuest && !isVictimGuest {
                        (victim, isVictimGuest) = (position, isGuest)
                    }
                }
                return (victim, earliest)
            })
        swap(&bounds, &self.bounds)
        return due.map { remove(at: $0, hash: hash) }
    }

    /// Makes the next eviction look at every value: they may have become forgettable earlier than they were.
    mutating func forgetBounds() {
        bounds = EvictionBounds()
    }

    private mutating func promote(_ place: Place) {
        entries[near: place].mark.isGuest = false
        guestCount -= 1
    }

    private mutating func remove(at position: Int, hash: (Span<UInt8>) -> UInt64) -> Value {
        let place = entries.place(of: position)
        slots.remove(place.number, hash: hash(key(at: position).span))
        entries[near: place].mark.isLive = false
        if entries[near: place].mark.isGuest { promote(place) }
        longKeys[UInt32(position)] = nil
        vacancies.append(UInt32(position))
        count -= 1
        return self[place]
    }
}

/// One name and what stands beside it of its value: a cache line. (Not nested in the table: the compiler, 6.3.1, breaks off on
/// a private type there.)
struct BucketEntry<Value: BitwiseCopyable>: BitwiseCopyable {
    var value: Value
    /// The name, or nothing where it is too long.
    let key: InlineKey
    var mark: EntryMark

    /// Notes that it is in use, where that is not noted: whatever is written has to go back to memory one day.
    @inline(__always)
    mutating func noteUse() {
        if !mark.isRecent { mark.isRecent = true }
    }

    /// Whether it is that of a name of so many bytes.
    @inline(__always)
    func isOf(_ name: InlineKey, count: Int) -> Bool {
        // One branch for both.
        key.difference(from: name) | UInt64(mark.difference(fromCount: count)) == 0
    }
}

/// What a table notes of an entry, in four bytes.
struct EntryMark: BitwiseCopyable {
    private static let countMask: UInt32 = 0x3f
    private static let recentBit: UInt32 = 0x40
    private static let liveBit: UInt32 = 0x80
    private static let guestBit: UInt32 = 0x100
    private static let positionShift: UInt32 = 9

    private var bits: UInt32

    /// The mark of a new entry: alive and, but for a guest, just used.
    init(nameCount: Int, position: Int, isGuest: Bool = false) {
        precondition(position <= Int(UInt32.max >> Self.positionShift), "a table holds 2^23 names at most")
        bits =
            UInt32(min(nameCount, Int(Self.countMask))) | (isGuest ? Self.guestBit : Self.recentBit) | Self.liveBit
            | UInt32(position) << Self.positionShift
    }

    /// Whether the name came while the table was nearly full, and has not been seen to be used again.
    var isGuest: Bool {
        get { bits & Self.guestBit != 0 }
        set { bits = newValue ? bits | Self.guestBit : bits & ~Self.guestBit }
    }

    /// The length of the name, or 63 of one that is too long to stand in the entry.
    var nameCount: Int { Int(bits & Self.countMask) }

    /// 0 where it is that of a name of so many bytes, which are fewer than 63.
    @inline(__always)
    func difference(fromCount count: Int) -> UInt32 { (bits ^ UInt32(truncatingIfNeeded: count)) & Self.countMask }

    /// Where the entry stands among the entries.
    var position: Int { Int(bits >> Self.positionShift) }

    /// Used since the eviction hand last came by.
    var isRecent: Bool {
        get { bits & Self.recentBit != 0 }
        set { bits = newValue ? bits | Self.recentBit : bits & ~Self.recentBit }
    }

    /// Whether a name holds the entry.
    var isLive: Bool {
        get { bits & Self.liveBit != 0 }
        set { bits = newValue ? bits | Self.liveBit : bits & ~Self.liveBit }
    }
}
