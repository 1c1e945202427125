/// An array that has one owner and never moves what is in it: it grows a segment at a time.
///
/// An array that doubles copies all it has while somebody waits for the lock, and leaves up to half of itself unused.
/// Here an append costs at most one new segment and, seldom, a copy of the list of segments, eight bytes for each. Since
/// nothing moves, an element may also be told by its ``Place``, which is followed in one step, unchecked; a position is
/// checked, and takes three. A segment begins on a cache line.
struct SegmentedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// Where an element stands, for as long as the buffer lives.
    struct Place {
        fileprivate let element: UnsafeMutablePointer<Element>

        /// Addresses of what a program allocates fit into 48 bits, and elements stand at multiples of 8.
        static var numberBits: Int { 45 }

        @inline(__always)
        fileprivate init(_ element: UnsafeMutablePointer<Element>) {
            self.element = element
        }

        /// The place with this number, which must have been told of a place of a buffer that is alive.
        @inline(__always)
        init(number: UInt64) {
            // It was made of an address, and none is 0.
            element = UnsafeMutablePointer(bitPattern: UInt(truncatingIfNeeded: number &<< 3)).unsafelyUnwrapped
        }

        /// Tells the place, in ``numberBits``.
        var number: UInt64 { UInt64(UInt(bitPattern: element) >> 3) }
    }

    /// Elements in a segment: so many that a segment is some pages, so few that the last one may be empty.
    ///
    /// Of 160 bytes each they fill a class of the allocator's.
    private static var segmentCount: Int { 32 }

    /// Where each segment begins; there is room for ``segmentCapacity`` of them.
    ///
    /// In an array each look would be checked once more.
    private var segments: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private(set) var count = 0
    private var segmentCapacity = 4

    init() {
        precondition(MemoryLayout<Element>.stride % 8 == 0, "an element stands at a multiple of 8 bytes")
        segments = .allocate(capacity: segmentCapacity)
    }

    deinit {
        var first = 0
        while first < count {
            UnsafeMutableRawPointer(segments[first / Self.segmentCount]).deallocate()
            first += Self.segmentCount
        }
        segments.deallocate()
    }

    subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress { UnsafePointer(place(of: index).element) }
        @inline(__always) unsafeMutableAddress { place(of: index).element }
    }

    subscript(place: Place) -> Element {
        @inline(__always) unsafeAddress { UnsafePointer(place.element) }
        @inline(__always) unsafeMutableAddress { place.element }
    }

    /// Where the element at a position stands; checked against the count.
    @inline(__always)
    func place(of index: Int) -> Place {
        let index = UInt(bitPattern: index)
        precondition(index < UInt(bitPattern: count), "position beyond the end")
        let size = UInt(bitPattern: Self.segmentCount)
        return Place(segments[Int(bitPattern: index / size)] + Int(bitPattern: index % size))
    }

    mutating func append(_ element: Element) {
        let (segment, number) = count.quotientAndRemainder(dividingBy: Self.segmentCount)
        if number == 0 { addSegment(at: segment) }
        (segments[segment] + number).initialize(to: element)
        count += 1
    }

    private mutating func addSegment(at segment: Int) {
        if segment == segmentCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: segmentCapacity * 2)
            larger.initialize(from: segments, count: segment)
            segments.deallocate()
            segments = larger
            segmentCapacity *= 2
        }
        let size = Self.segmentCount * MemoryLayout<Element>.stride
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
        precondition(UInt(bitPattern: bytes + size) <= 1 << (Place.numberBits + 3), "an address of more than 48 bits")
        (segments + segment).initialize(to: bytes.bindMemory(to: Element.self, capacity: Self.segmentCount))
    }
}
