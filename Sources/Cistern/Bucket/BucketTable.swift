/// A value of a table: what a decision mostly needs of it stands beside the name, on one cache line, and the rest elsewhere.
protocol TableValue: BitwiseCopyable {
    /// What stands beside the name: up to 24 bytes, the last ones of a value.
    associatedtype Hot: BitwiseCopyable
    /// As many bytes as come before those.
    associatedtype Cold: BitwiseCopyable
}

/// A bounded table from organization names to one fixed-size value each: the inside of one shard, for one thread.
///
/// A hash table (``HashIndex``) of the places where the entries stand. Entries never move, so places and positions stay good
/// for as long as the name is here, and growing costs a newcomer no more than its slots and one segment. Names of up to
/// ``InlineKey/capacity`` bytes stand in the entry itself.
struct BucketTable<Value: TableValue>: ~Copyable {
    private typealias Entries = SegmentedBuffer<BucketEntry<Value.Hot>, Value.Cold>
    /// Where the entries of all tables of a store stand.
    typealias Pool = SegmentPool<BucketEntry<Value.Hot>, Value.Cold>
    /// Where a name's entry stands, for as long as the name is here: quicker to follow than a position.
    typealias EntryPointer = SegmentedBuffer<BucketEntry<Value.Hot>, Value.Cold>.EntryPointer

    /// A value as it lies in one piece.
    private struct Whole: BitwiseCopyable {
        var cold: Value.Cold
        var hot: Value.Hot
    }

    private var slots = HashIndex(count: 8)
    private var entries: Entries
    /// Positions in `entries` that no name holds.
    private var freeIndices: [UInt32] = []
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
    static var largestCapacity: Int { HashIndex.largestCount / 4 * 3 }

    init(capacity: Int, pool: Pool) {
        precondition(1...Self.largestCapacity ~= capacity, "a table holds 1 to \(Self.largestCapacity) names")
        precondition(EntryPointer.numberBits <= HashIndex.payloadBits, "a slot has no room for the number of a place")
        precondition(
            MemoryLayout<Whole>.size == MemoryLayout<Value>.size
                && MemoryLayout<Whole>.offset(of: \.hot) == MemoryLayout<Value>.size - MemoryLayout<Value.Hot>.size,
            "a value consists of its two parts")
        self.capacity = capacity
        entries = Entries(pool: pool)
    }

    var isFull: Bool { count >= capacity }

    /// The value at a position that `find` or `insert` gave and that has not been evicted since.
    subscript(index: Int) -> Value {
        get { self[entries.pointer(of: index)] }
        set { self[entries.pointer(of: index)] = newValue }
    }

    /// The value at a place that was found and whose name has not been evicted since.
    ///
    /// It is put together of its parts, and taken apart where it has been changed.
    subscript(pointer: EntryPointer) -> Value {
        @inline(__always) get {
            unsafeBitCast(Whole(cold: entries[cold: pointer], hot: entries[hot: pointer].value), to: Value.self)
        }
        // No `_modify`: what it would keep of the value while somebody changes it would be allocated.
        set {
            let whole = unsafeBitCast(newValue, to: Whole.self)
            (entries[cold: pointer], entries[hot: pointer].value) = (whole.cold, whole.hot)
        }
    }

    /// The part that stands beside the name, of a value at a place that was found and whose name has not been evicted since.
    subscript(hot pointer: EntryPointer) -> Value.Hot {
        @inline(__always) get { entries[hot: pointer].value }
        @inline(__always) _modify { yield &entries[hot: pointer].value }
    }

    func index(of pointer: EntryPointer) -> Int { entries[hot: pointer].mark.index }

    /// The position of a name, which counts as used by being looked up.
    @inline(never)
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        findEntry(key, hash: hash).map { index(of: $0) }
    }

    /// Runs `body` on what stands beside a name, which counts as used; where there is no such name, the result is `absent`.
    @inline(__always)
    mutating func update<Result>(
        _ key: Span<UInt8>, hash: UInt64, absent: Result, _ body: (inout Value.Hot) -> Result
    ) -> Result {
        guard let pointer = findEntry(key, hash: hash) else { return absent }
        return body(&entries[hot: pointer].value)
    }

    /// The place of a name, which counts as used by being looked up.
    @inline(__always)
    mutating func findEntry(_ key: Span<UInt8>, hash: UInt64) -> EntryPointer? {
        // As long as a UUID, or nearly.
        guard InlineKey.commonLengths ~= key.count else { return findLong(key, hash: hash) }
        let name = InlineKey(common: key)
        let pointer = find(hash) { $0.isOf(name, count: key.count) }
        if let pointer { entries[hot: pointer].noteUse() }
        return pointer
    }

    @inline(never)
    private mutating func findLong(_ key: Span<UInt8>, hash: UInt64) -> EntryPointer? {
        let pointer: EntryPointer?
        if key.count <= InlineKey.capacity {
            let name = InlineKey(key)
            pointer = find(hash) { $0.isOf(name, count: key.count) }
        } else {
            pointer = find(hash) { entry in longKeys[UInt32(entry.mark.index)].map { key.equals($0) } ?? false }
        }
        if let pointer { entries[hot: pointer].noteUse() }
        return pointer
    }

    /// The place of the entry of a hash that is the right one.
    @inline(__always)
    private func find(_ hash: UInt64, isRight: (BucketEntry<Value.Hot>) -> Bool) -> EntryPointer? {
        slots.find(hash) { isRight(entries[hot: EntryPointer(number: $0)]) }.map { EntryPointer(number: $0) }
    }

    /// Adds a name that the table does not hold.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        let isGuest = count * 4 > capacity * 3
        precondition(!isFull, "a full table takes no more names: evict one first")
        if (count + 1) * 4 > slots.count * 3 { slots.grow() }
        let index = freeIndices.popLast().map { Int($0) } ?? entries.count
        let whole = unsafeBitCast(value, to: Whole.self)
        let entry = BucketEntry(
            value: whole.hot, key: InlineKey(key),
            mark: EntryMark(nameCount: key.count, index: index, isGuest: isGuest))
        if isGuest { guestCount += 1 }
        bounds.noteChange(at: index)
        if index < entries.count {
            let pointer = entries.pointer(of: index)
            (entries[hot: pointer], entries[cold: pointer]) = (entry, whole.cold)
        } else {
            entries.append(hot: entry, cold: whole.cold)
        }
        if key.count > InlineKey.capacity { longKeys[UInt32(index)] = key.withUnsafeBufferPointer { Array($0) } }
        slots.insert(entries.pointer(of: index).number, hash: hash)
        count += 1
        return index
    }

    /// Writes down where the slots stand.
    func updateHint(in pointer: borrowing PrefetchHint) { pointer.note(slots) }

    /// Whether the slots stand where is written down.
    func hasSlots(in pointer: borrowing PrefetchHint) -> Bool { pointer.isPlace(of: slots) }

    /// The name at a position.
    func key(at index: Int) -> [UInt8] {
        let entry = entry(at: index)
        return longKeys[UInt32(index)] ?? entry.key.bytes(entry.mark.nameCount)
    }

    private func entry(at index: Int) -> BucketEntry<Value.Hot> { entries[hot: entries.pointer(of: index)] }

    /// One beyond the last position that may hold a name.
    var endIndex: Int { entries.count }

    /// Whether a position holds a name.
    func isLive(_ index: Int) -> Bool { entry(at: index).mark.isLive }

    /// The names among a few positions from `start` on, and where to go on; nil at the end.
    ///
    /// So few that others do not wait for long: a look at one takes some hundred nanoseconds.
    func liveIndices(from start: Int) -> (found: [Int], next: Int?) {
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
            let index = hand
            hand = hand + 1 == entries.count ? 0 : hand + 1
            let pointer = entries.pointer(of: index)
            guard entries[hot: pointer].mark.isLive, mayGo(self[pointer]) else { continue }
            guard entries[hot: pointer].mark.isRecent else { return remove(at: index, hash: hash) }
            entries[hot: pointer].mark.isRecent = false
            if fallback == nil { fallback = index }
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
                for index in positions {
                    let pointer = entries.pointer(of: index)
                    guard entries[hot: pointer].mark.isLive else { continue }
                    let mark = entries[hot: pointer].mark
                    if mark.isGuest, mark.isRecent { promote(pointer) }
                    let isGuest = entries[hot: pointer].mark.isGuest
                    let (from, usedAt) = forgettable(self[pointer])
                    let due = sparing && !isGuest ? max(from, usedAt + EvictionBounds.sparedMilliseconds) : from
                    earliest = min(earliest, due)
                    if due <= now, victim == nil || isGuest && !isVictimGuest {
                        (victim, isVictimGuest) = (index, isGuest)
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

    private mutating func promote(_ pointer: EntryPointer) {
        entries[hot: pointer].mark.isGuest = false
        guestCount -= 1
    }

    private mutating func remove(at index: Int, hash: (Span<UInt8>) -> UInt64) -> Value {
        let pointer = entries.pointer(of: index)
        slots.remove(pointer.number, hash: hash(key(at: index).span))
        entries[hot: pointer].mark.isLive = false
        if entries[hot: pointer].mark.isGuest { promote(pointer) }
        longKeys[UInt32(index)] = nil
        freeIndices.append(UInt32(index))
        count -= 1
        return self[pointer]
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
    private static let indexShift: UInt32 = 9

    private var bits: UInt32

    /// The mark of a new entry: alive and, but for a guest, just used.
    init(nameCount: Int, index: Int, isGuest: Bool = false) {
        precondition(index <= Int(UInt32.max >> Self.indexShift), "a table holds 2^23 names at most")
        bits =
            UInt32(min(nameCount, Int(Self.countMask))) | (isGuest ? Self.guestBit : Self.recentBit) | Self.liveBit
            | UInt32(index) << Self.indexShift
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
    var index: Int { Int(bits >> Self.indexShift) }

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
