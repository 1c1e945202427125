/// An array that has one owner and never moves what is in it: it grows a segment at a time.
///
/// An array that doubles copies all it has while somebody waits for the lock, and leaves up to half of itself unused. Here
/// an append costs at most one new segment and, seldom, a copy of the list of segments, eight bytes for each. A segment
/// begins on a cache line. Every access is checked against the count, as in ``UniqueBuffer``.
struct SegmentedBuffer<Element: BitwiseCopyable>: ~Copyable {
    /// Elements in a segment: so many that a segment is some pages, so few that the last one may be empty.
    ///
    /// Of 160 bytes each they fill a class of the allocator's.
    private static var segmentCount: Int { 32 }

    /// Where each segment begins; there is room for ``segmentCapacity`` of them.
    ///
    /// In a ``UniqueBuffer`` each look would be checked once more, which is two in a hundred instructions of a decision.
    private var starts: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private(set) var count = 0
    private var segmentCapacity = 4

    init() {
        starts = .allocate(capacity: segmentCapacity)
    }

    deinit {
        var first = 0
        while first < count {
            UnsafeMutableRawPointer(starts[first / Self.segmentCount]).deallocate()
            first += Self.segmentCount
        }
        starts.deallocate()
    }

    subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress { UnsafePointer(address(of: index)) }
        @inline(__always) unsafeMutableAddress { address(of: index) }
    }

    /// Runs `body` on an element, which is looked up once.
    @inline(__always)
    mutating func update<Result>(_ index: Int, _ body: (inout Element) -> Result) -> Result {
        body(&address(of: index).pointee)
    }

    @inline(__always)
    private func address(of index: Int) -> UnsafeMutablePointer<Element> {
        let index = UInt(bitPattern: index)
        precondition(index < UInt(bitPattern: count), "position beyond the end")
        let size = UInt(bitPattern: Self.segmentCount)
        return starts[Int(bitPattern: index / size)] + Int(bitPattern: index % size)
    }

    mutating func append(_ element: Element) {
        let (segment, place) = count.quotientAndRemainder(dividingBy: Self.segmentCount)
        if place == 0 { addSegment(at: segment) }
        (starts[segment] + place).initialize(to: element)
        count += 1
    }

    private mutating func addSegment(at segment: Int) {
        if segment == segmentCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: segmentCapacity * 2)
            larger.initialize(from: starts, count: segment)
            starts.deallocate()
            starts = larger
            segmentCapacity *= 2
        }
        let bytes = UnsafeMutableRawPointer.allocate(
            byteCount: Self.segmentCount * MemoryLayout<Element>.stride, alignment: 64)
        (starts + segment).initialize(to: bytes.bindMemory(to: Element.self, capacity: Self.segmentCount))
    }
}
