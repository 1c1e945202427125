internal import Synchronization

/// The memory pool for the segments of a store's tables; it keeps the hot parts of all tables together.
///
/// An element has a hot part, which is one cache line, and a cold part. Each chunk of memory starts with the hot parts
/// of all its segments; the cold parts follow. So a page of hot parts contains nothing else: the hot parts of a million
/// keys take 16,000 TLB entries, and cold parts add none. Memory is freed only with the pool.
final class SegmentPool<Hot: BitwiseCopyable, Cold: BitwiseCopyable>: Sendable {
    /// Bytes in a cache line, the size of a hot part.
    static var lineBytes: Int { 64 }
    /// Elements in a segment; few, because the last segment of each table may be nearly empty.
    static var elementsPerSegment: Int { 16 }
    /// Elements in a chunk; a power of two.
    ///
    /// The hot parts of a chunk fill several whole pages. A chunk fills an allocator size class if cold parts have 96
    /// bytes, and also if there are none.
    static var elementsPerChunk: Int { 1024 }
    static var coldStride: Int { MemoryLayout<Cold>.size == 0 ? 0 : MemoryLayout<Cold>.stride }

    private struct Chunks {
        /// Start addresses of the chunks: multiples of the size of a chunk's hot parts.
        var addresses: [UInt] = []
        /// Number of segments taken from the last chunk.
        var segmentsTaken = elementsPerChunk / elementsPerSegment
    }

    private let chunks = Mutex(Chunks())

    init() {
        precondition(MemoryLayout<Hot>.stride == Self.lineBytes, "a hot part must be one cache line")
    }

    deinit {
        chunks.withLock { chunks in
            for address in chunks.addresses { UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
        }
    }

    /// Takes an unused segment; returns the address of its first hot part, in cache lines.
    func takeSegment() -> UInt64 {
        chunks.withLock { chunks in
            if chunks.segmentsTaken == Self.elementsPerChunk / Self.elementsPerSegment {
                chunks.addresses.append(Self.allocateChunk())
                chunks.segmentsTaken = 0
            }
            let line = chunks.addresses[chunks.addresses.count - 1] / UInt(Self.lineBytes)
            defer { chunks.segmentsTaken += 1 }
            return UInt64(line) + UInt64(chunks.segmentsTaken * Self.elementsPerSegment)
        }
    }

    private static func allocateChunk() -> UInt {
        let lines = elementsPerChunk * lineBytes
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: lines + elementsPerChunk * coldStride, alignment: lines)
        bytes.bindMemory(to: Hot.self, capacity: elementsPerChunk)
        if coldStride > 0 { (bytes + lines).bindMemory(to: Cold.self, capacity: elementsPerChunk) }
        let address = UInt(bitPattern: bytes)
        precondition(address <= 1 << 48 - UInt(lines), "an address of more than 48 bits")
        return address
    }
}
