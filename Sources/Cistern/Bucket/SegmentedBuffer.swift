/// An array of two-part elements with one owner; it grows by one segment at a time and never moves its elements.
///
/// An array that doubles copies all its elements while other threads wait for the lock, and leaves up to half of its
/// memory unused. Here an append costs at most one new segment and, seldom, a copy of the segment list, eight bytes per
/// segment. Because elements never move, an ``EntryPointer`` can address one in a single unchecked step. An entry index
/// is checked and takes three steps.
///
/// The hot part of an element is one cache line; the cold part is stored elsewhere (``SegmentPool``). So reading the
/// hot part fetches no cold data.
struct SegmentedBuffer<Hot: BitwiseCopyable, Cold: BitwiseCopyable>: ~Copyable {
    typealias Pool = SegmentPool<Hot, Cold>

    /// The address of an element, valid as long as the buffer.
    struct EntryPointer {
        /// The address of the hot part, in cache lines.
        let lineAddress: UInt64

        /// Number of bits in ``lineAddress``: allocated addresses fit into 48, and a cache line takes 6 of them.
        static var lineAddressBits: Int { 42 }

        @inline(__always)
        fileprivate var hot: UnsafeMutablePointer<Hot> {
            let address = UInt(truncatingIfNeeded: lineAddress &* UInt64(Pool.lineBytes))
            // `lineAddress` was made from a valid address, which is never 0.
            return UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
        }

        /// The hot part's address gives the element's index in its chunk and the start of the chunk's cold parts.
        @inline(__always)
        fileprivate var cold: UnsafeMutablePointer<Cold> {
            let index = Int(truncatingIfNeeded: lineAddress % UInt64(Pool.elementsPerChunk))
            let lines = Pool.elementsPerChunk &- index
            return (UnsafeMutableRawPointer(hot) + (lines &* Pool.lineBytes &+ index &* Pool.coldStride))
                .assumingMemoryBound(to: Cold.self)
        }
    }

    private let pool: Pool
    /// The ``EntryPointer/lineAddress`` of each segment's first element; allocated for ``segmentCapacity`` segments.
    ///
    /// Not an array, which would check the bounds of each access again.
    private var segments: UnsafeMutablePointer<UInt64>
    private(set) var count = 0
    private var segmentCapacity = 4

    /// Creates an empty buffer; other buffers may share the pool.
    init(pool: Pool) {
        self.pool = pool
        segments = .allocate(capacity: segmentCapacity)
    }

    deinit { segments.deallocate() }

    /// The hot part of the element at an entry pointer.
    subscript(hot pointer: EntryPointer) -> Hot {
        @inline(__always) unsafeAddress { UnsafePointer(pointer.hot) }
        @inline(__always) unsafeMutableAddress { pointer.hot }
    }

    /// The cold part of the element at an entry pointer.
    subscript(cold pointer: EntryPointer) -> Cold {
        @inline(__always) unsafeAddress { UnsafePointer(pointer.cold) }
        @inline(__always) unsafeMutableAddress { pointer.cold }
    }

    /// The entry pointer of the element at an index, which is checked against the count.
    @inline(__always)
    func pointer(of index: Int) -> EntryPointer {
        let index = UInt(bitPattern: index)
        precondition(index < UInt(bitPattern: count), "entry index out of bounds")
        let (segment, offset) = index.quotientAndRemainder(dividingBy: UInt(bitPattern: Pool.elementsPerSegment))
        return EntryPointer(lineAddress: segments[Int(bitPattern: segment)] + UInt64(offset))
    }

    mutating func append(hot: Hot, cold: Cold) {
        let segment = count / Pool.elementsPerSegment
        if count % Pool.elementsPerSegment == 0 { addSegment(at: segment) }
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
