/// The hash index of a table: maps the hash of a key to the entry pointer.
///
/// Open addressing with linear probing. A slot takes eight bytes: an entry pointer and, as a tag, the lowest bits of
/// the hash. A probe reads an entry only if the tag matches; that entry is nearly always the right one. Growing reads
/// no entries.
struct HashIndex: ~Copyable {
    /// Bits of the hash in a slot; the bits above hold the entry pointer.
    private static var tagBits: UInt64 { 19 }
    private static var tagMask: UInt64 { 1 << tagBits - 1 }
    /// Number of bits available for an entry pointer.
    static var payloadBits: Int { 64 - Int(tagBits) }
    /// The largest number of slots: ``grow()`` finds the home slot by the tag alone.
    static var largestCount: Int { Int(tagMask) + 1 }

    /// Each slot is 0 if free, else an entry pointer above a tag.
    private var slots: UnsafeMutablePointer<UInt64>
    /// Number of slots minus one.
    private var mask: UInt

    /// Creates an index with `count` free slots; `count` must be a power of two.
    init(count: Int) {
        precondition(1...Self.largestCount ~= count && count & (count - 1) == 0, "slot count must be a power of two")
        slots = .allocate(capacity: count)
        slots.initialize(repeating: 0, count: count)
        mask = UInt(count - 1)
    }

    deinit { slots.deallocate() }

    var count: Int { Int(mask) + 1 }

    /// The address of the slots, which changes when the index grows.
    var address: UInt { UInt(bitPattern: slots) }

    /// The content of a slot; slot numbers wrap around.
    private subscript(number: UInt) -> UInt64 {
        @inline(__always) get { slots[Int(bitPattern: number & mask)] }
        set { slots[Int(bitPattern: number & mask)] = newValue }
    }

    /// The entry pointer that is stored under this hash's tag and for which `matches` is true.
    @inline(__always)
    func find(_ hash: UInt64, matches: (_ pointer: UInt64) -> Bool) -> UInt64? {
        var slot = UInt(truncatingIfNeeded: hash)
        while true {
            let content = self[slot]
            if content == 0 { return nil }
            if (content ^ hash) & Self.tagMask == 0 {
                let pointer = content >> Self.tagBits
                if matches(pointer) { return pointer }
            }
            slot &+= 1
        }
    }

    /// Stores an entry pointer under a hash.
    ///
    /// One slot must stay free, or the lookup of a missing key would not end.
    mutating func insert(_ pointer: UInt64, hash: UInt64) {
        occupy(pointer << Self.tagBits | hash & Self.tagMask)
    }

    private mutating func occupy(_ content: UInt64) {
        var slot = Self.home(of: content)
        while self[slot] != 0 { slot &+= 1 }
        self[slot] = content
    }

    /// Removes an entry pointer that was stored under a hash.
    mutating func remove(_ pointer: UInt64, hash: UInt64) {
        var hole = UInt(truncatingIfNeeded: hash)
        while self[hole] >> Self.tagBits != pointer { hole &+= 1 }
        // Backward-shift deletion: a later slot of the run moves into the hole if its home slot allows it.
        var next = hole &+ 1
        while self[next] != 0 {
            if (next &- Self.home(of: self[next])) & mask >= (next &- hole) & mask {
                self[hole] = self[next]
                hole = next
            }
            next &+= 1
        }
        self[hole] = 0
    }

    /// Doubles the number of slots.
    mutating func grow() {
        var old = HashIndex(count: count * 2)
        swap(&old, &self)
        for slot in 0...old.mask where old[slot] != 0 { occupy(old[slot]) }
    }

    /// The home slot of a slot's content, before wrapping around.
    private static func home(of content: UInt64) -> UInt { UInt(content & tagMask) }
}
