/// The slots of a table: where the entry of a name stands, found by the hash of the name.
///
/// Open addressing with linear probing. A slot takes eight bytes, the place of an entry and the lowest bits of its hash, its
/// tag; so a probe looks at an entry only where it is very likely the right one, and slots are laid out anew without a look
/// at any.
struct HashIndex: ~Copyable {
    /// Of a hash; what is above is left for the number of a place.
    private static var tagBits: UInt64 { 19 }
    private static var tagMask: UInt64 { 1 << tagBits - 1 }
    /// How large the number of a place may be, in bits.
    static var payloadBits: Int { 64 - Int(tagBits) }
    /// More could not be told apart by a tag.
    static var largestCount: Int { Int(tagMask) + 1 }

    /// 0 where free, else the number of a place, and below it a tag.
    private var slots: UnsafeMutablePointer<UInt64>
    /// One less than how many there are.
    private var mask: UInt

    /// Creates free slots, so many: a power of two.
    init(count: Int) {
        precondition(1...Self.largestCount ~= count && count & (count - 1) == 0, "no number of slots")
        slots = .allocate(capacity: count)
        slots.initialize(repeating: 0, count: count)
        mask = UInt(count - 1)
    }

    deinit { slots.deallocate() }

    var count: Int { Int(mask) + 1 }

    /// Where they stand until they grow.
    var address: UInt { UInt(bitPattern: slots) }

    /// Each number is that of a slot: they come round.
    private subscript(number: UInt) -> UInt64 {
        @inline(__always) get { slots[Int(bitPattern: number & mask)] }
        set { slots[Int(bitPattern: number & mask)] = newValue }
    }

    /// Of the places noted under a hash like this, the one that is right.
    @inline(__always)
    func find(_ hash: UInt64, isRight: (_ pointer: UInt64) -> Bool) -> UInt64? {
        var slot = UInt(truncatingIfNeeded: hash)
        while true {
            let content = self[slot]
            if content == 0 { return nil }
            if (content ^ hash) & Self.tagMask == 0 {
                let pointer = content >> Self.tagBits
                if isRight(pointer) { return pointer }
            }
            slot &+= 1
        }
    }

    /// Notes a place under a hash; one slot at least must be free then, or looking for what is not there would not end.
    mutating func insert(_ pointer: UInt64, hash: UInt64) {
        occupy(pointer << Self.tagBits | hash & Self.tagMask)
    }

    private mutating func occupy(_ content: UInt64) {
        var slot = Self.home(of: content)
        while self[slot] != 0 { slot &+= 1 }
        self[slot] = content
    }

    /// Forgets a place that was noted under a hash.
    mutating func remove(_ pointer: UInt64, hash: UInt64) {
        var hole = UInt(truncatingIfNeeded: hash)
        while self[hole] >> Self.tagBits != pointer { hole &+= 1 }
        // Close the gap: whatever follows and may stand at the hole moves into it, until a free slot ends the run.
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

    /// Twice as many.
    mutating func grow() {
        var old = HashIndex(count: count * 2)
        swap(&old, &self)
        for slot in 0...old.mask where old[slot] != 0 { occupy(old[slot]) }
    }

    /// The slot, or one a whole number of rounds from it, where what is in a slot would like to stand.
    private static func home(of content: UInt64) -> UInt { UInt(content & tagMask) }
}
