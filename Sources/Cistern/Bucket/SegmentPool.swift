internal import Synchronization

/// The memory that the tables of one store take their segments from, so that what is looked at each time stands close
/// together, whichever table it belongs to.
///
/// An element has two parts. The near ones are cache lines, and each chunk of memory has those of all its segments side by
/// side in its first half, then the far ones. So a page of near parts holds nothing but near parts: of a million
/// organizations' a processor has to translate the addresses of 16,000 pages, and not of all that the far ones stand on,
/// too. Nothing is given back before the pool goes.
final class SegmentPool<Hot: BitwiseCopyable, Cold: BitwiseCopyable>: Sendable {
    /// Bytes in a cache line, which a near part is.
    static var lineBytes: Int { 64 }
    /// Elements in a segment: so few that the last one of each table may be nearly empty.
    static var segmentCount: Int { 16 }
    /// Elements in a chunk, a power of two.
    ///
    /// As many lines as that are some pages; with far parts of 96 bytes, or none, they fill a class of the allocator's.
    static var chunkCount: Int { 1024 }
    static var coldStride: Int { MemoryLayout<Cold>.size == 0 ? 0 : MemoryLayout<Cold>.stride }

    private struct Chunks {
        /// The addresses where they begin: multiples of what the near parts of one take.
        var addresses: [UInt] = []
        /// Segments that have been taken of the last one.
        var taken = chunkCount / segmentCount
    }

    private let chunks = Mutex(Chunks())

    init() {
        precondition(MemoryLayout<Hot>.stride == Self.lineBytes, "a near part is a cache line")
    }

    deinit {
        chunks.withLock { chunks in
            for address in chunks.addresses { UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
        }
    }

    /// The address, in lines, of the first near part of a segment that nobody else has.
    func takeSegment() -> UInt64 {
        chunks.withLock { chunks in
            if chunks.taken == Self.chunkCount / Self.segmentCount {
                chunks.addresses.append(Self.allocateChunk())
                chunks.taken = 0
            }
            let line = chunks.addresses[chunks.addresses.count - 1] / UInt(Self.lineBytes)
            defer { chunks.taken += 1 }
            return UInt64(line) + UInt64(chunks.taken * Self.segmentCount)
        }
    }

    private static func allocateChunk() -> UInt {
        let lines = chunkCount * lineBytes
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: lines + chunkCount * coldStride, alignment: lines)
        bytes.bindMemory(to: Hot.self, capacity: chunkCount)
        if coldStride > 0 { (bytes + lines).bindMemory(to: Cold.self, capacity: chunkCount) }
        let address = UInt(bitPattern: bytes)
        precondition(address <= 1 << 48 - UInt(lines), "an address of more than 48 bits")
        return address
    }
}
