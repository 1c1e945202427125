/// An array of elements in two parts that has one owner and never moves what is in it: it grows a segment at a time.
///
/// An array that doubles copies all it has while somebody waits for the lock, and leaves up to half of itself unused.
/// Here an append costs at most one new segment and, seldom, a copy of the list of segments, eight bytes for each. Since
/// nothing moves, an element may also be told by its ``EntryPointer``, which is followed in one step, unchecked; a position is
/// checked, and takes three.
///
/// The near part of an element is one cache line, the far one stands elsewhere (``SegmentPool``). So a line is fetched for
/// what is looked at each time, and none with it for what is not.
struct SegmentedBuffer<Hot: BitwiseCopyable, Cold: BitwiseCopyable>: ~Copyable {
    typealias Pool = SegmentPool<Hot, Cold>

    /// Where an element stands, for as long as the buffer lives.
    struct EntryPointer {
        /// The address of the near part, in lines.
        let number: UInt64

        /// How many bits a number takes: addresses of what a program allocates fit into 48.
        static var numberBits: Int { 42 }

        @inline(__always)
        fileprivate var hot: UnsafeMutablePointer<Hot> {
            let address = UInt(truncatingIfNeeded: number &* UInt64(Pool.lineBytes))
            // It was made of an address, and none is 0.
            return UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
        }

        /// The address of the near part tells which one of its chunk's it is, and where the chunk's far ones begin.
        @inline(__always)
        fileprivate var cold: UnsafeMutablePointer<Cold> {
            let index = Int(truncatingIfNeeded: number % UInt64(Pool.chunkCount))
            let lines = Pool.chunkCount &- index
            return (UnsafeMutableRawPointer(hot) + (lines &* Pool.lineBytes &+ index &* Pool.coldStride))
                .assumingMemoryBound(to: Cold.self)
        }
    }

    private let pool: Pool
    /// The number of the first place of each segment; there is room for ``segmentCapacity`` of them.
    ///
    /// In an array each look would be checked once more.
    private var segments: UnsafeMutablePointer<UInt64>
    private(set) var count = 0
    private var segmentCapacity = 4

    /// Creates an empty buffer; the pool must have what others take of it, too.
    init(pool: Pool) {
        self.pool = pool
        segments = .allocate(capacity: segmentCapacity)
    }

    deinit { segments.deallocate() }

    /// The near part of the element at a place.
    subscript(hot pointer: EntryPointer) -> Hot {
        @inline(__always) unsafeAddress { UnsafePointer(pointer.hot) }
        @inline(__always) unsafeMutableAddress { pointer.hot }
    }

    /// The far part of the element at a place.
    subscript(cold pointer: EntryPointer) -> Cold {
        @inline(__always) unsafeAddress { UnsafePointer(pointer.cold) }
        @inline(__always) unsafeMutableAddress { pointer.cold }
    }

    /// Where the element at a position stands; checked against the count.
    @inline(__always)
    func pointer(of index: Int) -> EntryPointer {
        let index = UInt(bitPattern: index)
        precondition(index < UInt(bitPattern: count), "position beyond the end")
        let (segment, offset) = index.quotientAndRemainder(dividingBy: UInt(bitPattern: Pool.segmentCount))
        return EntryPointer(number: segments[Int(bitPattern: segment)] + UInt64(offset))
    }

    mutating func append(hot: Hot, cold: Cold) {
        let segment = count / Pool.segmentCount
        if count % Pool.segmentCount == 0 { addSegment(at: segment) }
        count += 1
        let pointer = pointer(of: count - 1)
        pointer.hot.initialize(to: hot)
        pointer.cold.initialize(to: cold)
    }

    private mutating func addSegment(at segment: Int) {
        if segment == segmentCapacity {
            let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: segmentCapacity * 2)
            larger.initialize(from: segments, count: segment)
            segments.deallocate()
            segments = larger
            segmentCapacity *= 2
        }
        (segments + segment).initialize(to: pool.takeSegment())
    }
}
