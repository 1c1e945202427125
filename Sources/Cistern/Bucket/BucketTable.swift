/// A table's value, in two parts: the hot part shares a cache line with the key, the cold part is stored elsewhere.
protocol TableValue: BitwiseCopyable {
    /// The hot part: the last bytes of a value, at most 24, stored beside the key.
    associatedtype Hot: BitwiseCopyable
    /// The cold part: the bytes of a value before the hot part.
    associatedtype Cold: BitwiseCopyable
}

/// A bounded table from keys to fixed-size values: the contents of one shard, used by one thread at a time.
///
/// A hash table (``HashIndex``) of pointers to the entries. Entries never move, so entry pointers and entry indices
/// stay valid until their key is removed. An insertion costs at most one rebuild of the hash index and one new segment.
/// Keys of up to ``InlineKey/capacity`` bytes are stored in the entry itself.
struct BucketTable<Value: TableValue>: ~Copyable {
    private typealias Entries = SegmentedBuffer<BucketEntry<Value.Hot>, Value.Cold>
    /// The memory pool that the tables of one store share for their entries.
    typealias Pool = SegmentPool<BucketEntry<Value.Hot>, Value.Cold>
    /// The address of a key's entry, valid until the key is removed.
    ///
    /// It is faster to follow than an entry index.
    typealias EntryPointer = SegmentedBuffer<BucketEntry<Value.Hot>, Value.Cold>.EntryPointer

    /// The memory layout of a value: the cold part, then the hot part.
    private struct ValueLayout: BitwiseCopyable {
        var cold: Value.Cold
        var hot: Value.Hot
    }

    private var slots = HashIndex(count: 8)
    private var entries: Entries
    /// Indices of free entries.
    private var freeIndices: [UInt32] = []
    /// Keys longer than ``InlineKey/capacity``, by entry index.
    private var longKeys: [UInt32: [UInt8]] = [:]
    private var hand = 0
    private var bounds = EvictionBounds()
    /// How many keys are probationary: inserted while the table was nearly full, and not seen to be used since.
    private(set) var probationaryCount = 0

    /// Number of keys in the table.
    private(set) var count = 0
    /// Maximum number of keys.
    let capacity: Int

    /// The largest valid ``capacity``, which leaves a quarter of the hash index's slots free.
    static var largestCapacity: Int { HashIndex.largestCount / 4 * 3 }

    init(capacity: Int, pool: Pool) {
        precondition(1...Self.largestCapacity ~= capacity, "a table holds 1 to \(Self.largestCapacity) keys")
        precondition(EntryPointer.lineAddressBits <= HashIndex.payloadBits, "an entry pointer must fit into a slot")
        precondition(
            MemoryLayout<ValueLayout>.size == MemoryLayout<Value>.size
                && MemoryLayout<ValueLayout>.offset(of: \.hot) == MemoryLayout<Value>.size
                    - MemoryLayout<Value.Hot>.size,
            "a value must be its cold part followed by its hot part")
        self.capacity = capacity
        entries = Entries(pool: pool)
    }

    var isFull: Bool { count >= capacity }

    /// The value at an entry index that `find` or `insert` returned, if its key has not been removed since.
    subscript(index: Int) -> Value {
        get { self[entries.pointer(of: index)] }
        set { self[entries.pointer(of: index)] = newValue }
    }

    /// The value at an entry pointer that a lookup returned, if its key has not been removed since.
    ///
    /// A read joins the two parts; a write splits them.
    subscript(pointer: EntryPointer) -> Value {
        @inline(__always) get {
            unsafeBitCast(ValueLayout(cold: entries[cold: pointer], hot: entries[hot: pointer].value), to: Value.self)
        }
        // No `_modify`: its coroutine frame, which would keep the value during the access, would be heap-allocated.
        set {
            let whole = unsafeBitCast(newValue, to: ValueLayout.self)
            (entries[cold: pointer], entries[hot: pointer].value) = (whole.cold, whole.hot)
        }
    }

    /// The hot part of the value at an entry pointer that a lookup returned, if its key has not been removed since.
    subscript(hot pointer: EntryPointer) -> Value.Hot {
        @inline(__always) get { entries[hot: pointer].value }
        @inline(__always) _modify { yield &entries[hot: pointer].value }
    }

    func index(of pointer: EntryPointer) -> Int { entries[hot: pointer].mark.index }

    /// Returns the entry index of a key and marks the key as recently used.
    @inline(never)
    mutating func find(_ key: Span<UInt8>, hash: UInt64) -> Int? {
        findEntry(key, hash: hash).map { index(of: $0) }
    }

    /// Runs `body` on a key's hot part and marks the key as recently used; returns `absent` if the key is missing.
    @inline(__always)
    mutating func update<Result>(
        _ key: Span<UInt8>, hash: UInt64, absent: Result, _ body: (inout Value.Hot) -> Result
    ) -> Result {
        guard let pointer = findEntry(key, hash: hash) else { return absent }
        return body(&entries[hot: pointer].value)
    }

    /// Returns the entry pointer of a key and marks the key as recently used.
    @inline(__always)
    mutating func findEntry(_ key: Span<UInt8>, hash: UInt64) -> EntryPointer? {
        // Fast path: keys about as long as a UUID.
        guard InlineKey.commonLengths ~= key.count else { return findLong(key, hash: hash) }
        let name = InlineKey(common: key)
        let pointer = find(hash) { $0.matches(name, count: key.count) }
        if let pointer { entries[hot: pointer].markRecent() }
        return pointer
    }

    @inline(never)
    private mutating func findLong(_ key: Span<UInt8>, hash: UInt64) -> EntryPointer? {
        let pointer: EntryPointer?
        if key.count <= InlineKey.capacity {
            let name = InlineKey(key)
            pointer = find(hash) { $0.matches(name, count: key.count) }
        } else {
            pointer = find(hash) { entry in longKeys[UInt32(entry.mark.index)].map { key.equals($0) } ?? false }
        }
        if let pointer { entries[hot: pointer].markRecent() }
        return pointer
    }

    /// The entry stored under a hash for which `matches` is true.
    @inline(__always)
    private func find(_ hash: UInt64, matches: (BucketEntry<Value.Hot>) -> Bool) -> EntryPointer? {
        slots.find(hash) { matches(entries[hot: EntryPointer(lineAddress: $0)]) }.map { EntryPointer(lineAddress: $0) }
    }

    /// Adds a key that the table does not hold, and returns its entry index.
    ///
    /// The table must not be full.
    mutating func insert(_ key: Span<UInt8>, hash: UInt64, value: Value) -> Int {
        let isProbationary = count * 4 > capacity * 3
        precondition(!isFull, "the table is full: evict a key first")
        if (count + 1) * 4 > slots.count * 3 { slots.grow() }
        let index = freeIndices.popLast().map { Int($0) } ?? entries.count
        let whole = unsafeBitCast(value, to: ValueLayout.self)
        let entry = BucketEntry(
            value: whole.hot, key: InlineKey(key),
            mark: EntryMark(keyLength: key.count, index: index, isProbationary: isProbationary))
        if isProbationary { probationaryCount += 1 }
        bounds.noteChange(at: index)
        if index < entries.count {
            let pointer = entries.pointer(of: index)
            (entries[hot: pointer], entries[cold: pointer]) = (entry, whole.cold)
        } else {
            entries.append(hot: entry, cold: whole.cold)
        }
        if key.count > InlineKey.capacity { longKeys[UInt32(index)] = key.withUnsafeBufferPointer { Array($0) } }
        slots.insert(entries.pointer(of: index).lineAddress, hash: hash)
        count += 1
        return index
    }

    /// Records the current location of the hash index in a prefetch hint.
    func updateHint(in hints: PrefetchHints, hash: UInt64) { hints[of: hash].update(slots) }

    /// Whether a prefetch hint holds the current location of the hash index.
    func isCurrent(_ hint: borrowing PrefetchHint) -> Bool { hint.isCurrent(slots) }

    /// The key at an entry index.
    func key(at index: Int) -> [UInt8] {
        let entry = entry(at: index)
        return longKeys[UInt32(index)] ?? entry.key.bytes(entry.mark.keyLength)
    }

    private func entry(at index: Int) -> BucketEntry<Value.Hot> { entries[hot: entries.pointer(of: index)] }

    /// One past the last entry index.
    var endIndex: Int { entries.count }

    /// Whether the entry at an index holds a key.
    func isLive(_ index: Int) -> Bool { entry(at: index).mark.isLive }

    /// The live entries among the next 64 from `start`, and where the following batch starts; nil at the end.
    ///
    /// Batches are small, because other threads wait for the lock: each entry takes about a hundred nanoseconds.
    func liveIndices(from start: Int) -> (found: [Int], next: Int?) {
        let end = min(entries.count, start + 64)
        return ((start..<max(start, end)).filter { isLive($0) }, end < entries.count ? end : nil)
    }

    /// Removes a value that `mayGo` accepts and returns it; nil if the scan finds none.
    ///
    /// CLOCK (second-chance) eviction: the hand passes over an entry once if it was used since the last pass. A call
    /// scans at most `steps` entries and the next call continues there. If all candidates were recently used, the first
    /// one is removed.
    ///
    /// - Parameter hash: the hash that keys are inserted and looked up with.
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

    /// Removes a value that may be forgotten and returns it; nil if no value may be forgotten yet.
    ///
    /// Probationary keys (see ``probationaryCount``) go first. They displace other keys from at most a quarter of the
    /// table, so a flood of new keys leaves older ones. The scan finds a value if there is one; failed scans keep
    /// their bounds for the next call.
    ///
    /// - Parameters:
    ///   - now: in milliseconds.
    ///   - hash: the hash that keys are inserted and looked up with.
    ///   - forgettable: when a value may be forgotten and when it was last used, in milliseconds. `from` may become
    ///     later at any time. If it becomes earlier other than by ``insert(_:hash:value:)``, the caller must call
    ///     ``forgetBounds()``.
    mutating func evict(
        now: Int64, hash: (Span<UInt8>) -> UInt64, forgettable: (Value) -> (from: Int64, usedAt: Int64)
    ) -> Value? {
        let sparing = probationaryCount * 4 >= capacity
        // Moved out of `self`, because the closure needs the table.
        var bounds = EvictionBounds()
        swap(&bounds, &self.bounds)
        let due = bounds.firstDue(
            sparing, now: now, count: entries.count,
            { positions in
                var (victim, isVictimProbationary, earliest) = (Int?.none, false, Int64.max)
                for index in positions {
                    let pointer = entries.pointer(of: index)
                    guard entries[hot: pointer].mark.isLive else { continue }
                    let mark = entries[hot: pointer].mark
                    if mark.isProbationary, mark.isRecent { promote(pointer) }
                    let isProbationary = entries[hot: pointer].mark.isProbationary
                    let (from, usedAt) = forgettable(self[pointer])
                    let due = sparing && !isProbationary ? max(from, usedAt + EvictionBounds.sparedMilliseconds) : from
                    earliest = min(earliest, due)
                    if due <= now, victim == nil || isProbationary && !isVictimProbationary {
                        (victim, isVictimProbationary) = (index, isProbationary)
                    }
                }
                return (victim, earliest)
            })
        swap(&bounds, &self.bounds)
        return due.map { remove(at: $0, hash: hash) }
    }

    /// Makes the next eviction scan all entries, because a value may have become forgettable earlier than before.
    mutating func forgetBounds() {
        bounds = EvictionBounds()
    }

    private mutating func promote(_ pointer: EntryPointer) {
        entries[hot: pointer].mark.isProbationary = false
        probationaryCount -= 1
    }

    private mutating func remove(at index: Int, hash: (Span<UInt8>) -> UInt64) -> Value {
        let pointer = entries.pointer(of: index)
        slots.remove(pointer.lineAddress, hash: hash(key(at: index).span))
        entries[hot: pointer].mark.isLive = false
        if entries[hot: pointer].mark.isProbationary { promote(pointer) }
        longKeys[UInt32(index)] = nil
        freeIndices.append(UInt32(index))
        count -= 1
        return self[pointer]
    }
}

/// A key and the hot part of its value: one cache line.
///
/// Not nested in the table: the Swift 6.3.1 compiler crashes on a private type there.
struct BucketEntry<Value: BitwiseCopyable>: BitwiseCopyable {
    var value: Value
    /// The key, or zeros if it is too long for the entry.
    let key: InlineKey
    var mark: EntryMark

    /// Marks the entry as recently used.
    ///
    /// Writes only on a change, to keep the cache line clean.
    @inline(__always)
    mutating func markRecent() {
        if !mark.isRecent { mark.isRecent = true }
    }

    /// Whether the entry holds `name`, a key of `count` bytes.
    @inline(__always)
    func matches(_ name: InlineKey, count: Int) -> Bool {
        // One branch for both comparisons.
        key.difference(from: name) | UInt64(mark.difference(fromCount: count)) == 0
    }
}

/// The metadata of an entry in four bytes: the key's length, three flags and the entry index.
struct EntryMark: BitwiseCopyable {
    private static let countMask: UInt32 = 0x3f
    private static let recentBit: UInt32 = 0x40
    private static let liveBit: UInt32 = 0x80
    private static let probationaryBit: UInt32 = 0x100
    private static let indexShift: UInt32 = 9

    private var bits: UInt32

    /// The mark of a new entry: live and, unless it is probationary, recently used.
    init(keyLength: Int, index: Int, isProbationary: Bool = false) {
        precondition(index <= Int(UInt32.max >> Self.indexShift), "a table holds at most 2^23 keys")
        bits =
            UInt32(min(keyLength, Int(Self.countMask))) | (isProbationary ? Self.probationaryBit : Self.recentBit)
            | Self.liveBit
            | UInt32(index) << Self.indexShift
    }

    /// Whether the key was inserted while the table was nearly full and has not been seen to be used since.
    var isProbationary: Bool {
        get { bits & Self.probationaryBit != 0 }
        set { bits = newValue ? bits | Self.probationaryBit : bits & ~Self.probationaryBit }
    }

    /// The key's length in bytes, capped at 63.
    var keyLength: Int { Int(bits & Self.countMask) }

    /// 0 if the capped key length is `count`, which must be below 63.
    @inline(__always)
    func difference(fromCount count: Int) -> UInt32 { (bits ^ UInt32(truncatingIfNeeded: count)) & Self.countMask }

    /// The entry's index in the table.
    var index: Int { Int(bits >> Self.indexShift) }

    /// Whether the key was used since the eviction hand last passed.
    var isRecent: Bool {
        get { bits & Self.recentBit != 0 }
        set { bits = newValue ? bits | Self.recentBit : bits & ~Self.recentBit }
    }

    /// Whether the entry holds a key.
    var isLive: Bool {
        get { bits & Self.liveBit != 0 }
        set { bits = newValue ? bits | Self.liveBit : bits & ~Self.liveBit }
    }
}
