/// An array that has one owner and never moves what is in it: it grows a segment at a time.
///
/// An array that doubles copies all it has while somebody waits for the lock, and leaves up to half of itself unused.
/// Here an append costs at most one new segment and, seldom, a copy of the list of segments, eight bytes for each. Since
/// nothing moves, an element may also be told by its ``Place``, which is followed in one step, unchecked; a position is
/// checked, and takes three.
///
/// A segment begins at a multiple of its size, with the position of its first element, so a place tells its position.
struct SegmentedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// Where an element stands, for as long as the buffer lives.
    struct Place: Equatable {
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
            let address = UInt(truncatingIfNeeded: number &<< 3 & 0xffff_ffff_ffff)
            // The number was made of an address, and none is 0.
            element = UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
        }

        /// Tells the place, in ``numberBits``.
        var number: UInt64 { UInt64(UInt(bitPattern: element) >> 3) }
    }

    /// A size that the allocator has a class for: two pages, so that the last one may be empty.
    private static var segmentBytes: Int { 8192 }
    /// Elements in a segment, which leave room for the position of the first.
    private static var segmentCount: Int { (segmentBytes - MemoryLayout<Int>.size) / MemoryLayout<Element>.stride }
    /// Where the first one begins: the last one ends with the segment.
    private static var firstOffset: Int { segmentBytes - segmentCount * MemoryLayout<Element>.stride }

    /// Where each segment begins; there is room for ``segmentCapacity`` of them.
    ///
    /// In a ``UniqueBuffer`` each look would be checked once more.
    private var segments: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private(set) var count = 0
    private var segmentCapacity = 4

    init() {
        precondition(MemoryLayout<Element>.stride % 8 == 0, "an element stands at a multiple of 8 bytes")
        segments = .allocate(capacity: segmentCapacity)
    }

    deinit {
        var first = 0
        while first < count {
            segments[first / Self.segmentCount].deallocate()
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
        let (segment, number) = index.quotientAndRemainder(dividingBy: UInt(bitPattern: Self.segmentCount))
        return Place(Self.element(Int(bitPattern: number), in: segments[Int(bitPattern: segment)]))
    }

    /// The position of the element that stands there.
    func position(of place: Place) -> Int {
        let address = UInt(bitPattern: place.element)
        let offset = Int(bitPattern: address % UInt(bitPattern: Self.segmentBytes))
        let segment = UnsafeMutableRawPointer(place.element) - offset
        return segment.load(as: Int.self) + (offset - Self.firstOffset) / MemoryLayout<Element>.stride
    }

    private static func element(_ number: Int, in segment: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Element> {
        (segment + firstOffset).assumingMemoryBound(to: Element.self) + number
    }

    mutating func append(_ element: Element) {
        let (segment, number) = count.quotientAndRemainder(dividingBy: Self.segmentCount)
        if number == 0 { addSegment(at: segment) }
        Self.element(number, in: segments[segment]).initialize(to: element)
        count += 1
    }

    private mutating func addSegment(at segment: Int) {
        if segment == segmentCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutableRawPointer>.allocate(capacity: segmentCapacity * 2)
            larger.initialize(from: segments, count: segment)
            segments.deallocate()
            segments = larger
            segmentCapacity *= 2
        }
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: Self.segmentBytes, alignment: Self.segmentBytes)
        precondition(UInt(bitPattern: bytes) < 1 << (Place.numberBits + 3), "an address of more than 48 bits")
        bytes.storeBytes(of: count, as: Int.self)
        (bytes + Self.firstOffset).bindMemory(to: Element.self, capacity: Self.segmentCount)
        (segments + segment).initialize(to: bytes)
    }
}
