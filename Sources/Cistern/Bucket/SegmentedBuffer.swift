/// An array of elements in two parts that has one owner and never moves what is in it: it grows a segment at a time.
///
/// An array that doubles copies all it has while somebody waits for the lock, and leaves up to half of itself unused.
/// Here an append costs at most one new segment and, seldom, a copy of the list of segments, eight bytes for each. Since
/// nothing moves, an element may also be told by its ``Place``, which is followed in one step, unchecked; a position is
/// checked, and takes three.
///
/// The near part of an element is one cache line, and the near parts of a segment stand side by side; the far ones follow them.
/// So a line is fetched for what is looked at each time, and none with it for what is not.
struct SegmentedBuffer<Near: BitwiseCopyable, Far: BitwiseCopyable>: ~Copyable {
    /// Where an element stands, for as long as the buffer lives.
    struct Place {
        /// The address of the near part in lines, and in the lowest bit whether it is in the upper half of its segment.
        ///
        /// Segments begin at multiples of half as many lines as they have, so the address tells where in a half.
        let number: UInt64

        /// How many bits a number takes: addresses of what a program allocates fit into 48.
        static var numberBits: Int { 43 }

        @inline(__always)
        fileprivate var near: UnsafeMutablePointer<Near> {
            let address = UInt(truncatingIfNeeded: number &>> 1 &* UInt64(SegmentedBuffer.lineBytes))
            // It was made of an address, and none is 0.
            return UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
        }

        @inline(__always)
        fileprivate var far: UnsafeMutablePointer<Far> {
            let half = SegmentedBuffer.segmentCount / 2
            let index = Int(truncatingIfNeeded: number &>> 1 % UInt64(half) &+ number % 2 &* UInt64(half))
            return SegmentedBuffer.far(of: UnsafeMutableRawPointer(near) - index &* SegmentedBuffer.lineBytes, index)
        }
    }

    /// Bytes in a cache line.
    private static var lineBytes: Int { 64 }
    /// Elements in a segment: so many that a segment is some pages, so few that the last one may be empty.
    ///
    /// With far parts of 96 bytes, or none, they fill a class of the allocator's.
    private static var segmentCount: Int { 32 }
    private static var farStride: Int { MemoryLayout<Far>.size == 0 ? 0 : MemoryLayout<Far>.stride }
    private static var segmentBytes: Int { segmentCount * (lineBytes + farStride) }

    /// Where each segment begins; there is room for ``segmentCapacity`` of them.
    ///
    /// In an array each look would be checked once more.
    private var segments: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private(set) var count = 0
    private var segmentCapacity = 4

    init() {
        precondition(MemoryLayout<Near>.stride == Self.lineBytes, "a near part is a cache line")
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

    /// The near part of the element at a place.
    subscript(near place: Place) -> Near {
        @inline(__always) unsafeAddress { UnsafePointer(place.near) }
        @inline(__always) unsafeMutableAddress { place.near }
    }

    /// The far part of the element at a place.
    subscript(far place: Place) -> Far {
        @inline(__always) unsafeAddress { UnsafePointer(place.far) }
        @inline(__always) unsafeMutableAddress { place.far }
    }

    @inline(__always)
    private static func far(of segment: UnsafeMutableRawPointer, _ index: Int) -> UnsafeMutablePointer<Far> {
        (segment + segmentCount &* lineBytes + index &* farStride).assumingMemoryBound(to: Far.self)
    }

    /// Where the element at a position stands; checked against the count.
    @inline(__always)
    func place(of position: Int) -> Place {
        let position = UInt(bitPattern: position)
        precondition(position < UInt(bitPattern: count), "position beyond the end")
        let size = UInt(bitPattern: Self.segmentCount)
        let (segment, index) = (segments[Int(bitPattern: position / size)], position % size)
        let line = UInt(bitPattern: segment) / UInt(bitPattern: Self.lineBytes) + index
        return Place(number: UInt64(line << 1 | (index >= size / 2 ? 1 : 0)))
    }

    mutating func append(near: Near, far: Far) {
        let (segment, index) = count.quotientAndRemainder(dividingBy: Self.segmentCount)
        if index == 0 { addSegment(at: segment) }
        (segments[segment] + index * Self.lineBytes).assumingMemoryBound(to: Near.self).initialize(to: near)
        Self.far(of: segments[segment], index).initialize(to: far)
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
        let bytes = UnsafeMutableRawPointer.allocate(
            byteCount: Self.segmentBytes, alignment: Self.segmentCount / 2 * Self.lineBytes)
        precondition(UInt(bitPattern: bytes + Self.segmentBytes) <= 1 << 48, "an address of more than 48 bits")
        bytes.bindMemory(to: Near.self, capacity: Self.segmentCount)
        if Self.farStride > 0 {
            (bytes + Self.segmentCount * Self.lineBytes).bindMemory(to: Far.self, capacity: Self.segmentCount)
        }
        (segments + segment).initialize(to: bytes)
    }
}
