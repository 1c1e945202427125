import Testing

@testable import Cistern

@Suite("A segmented buffer")
struct SegmentedBufferTests {
    private struct Hot: BitwiseCopyable {
        var lineAddress: Int64
        var filling: InlineArray<7, Int64> = .init(repeating: 0)
    }

    private struct Cold: BitwiseCopyable {
        var lineAddress: Int64
        var filling: InlineArray<11, Int64> = .init(repeating: 0)
    }

    private struct Nothing: BitwiseCopyable {}

    @Test("an element never moves, and index and entry pointer both find its hot and cold parts")
    func places() {
        typealias Buffer = SegmentedBuffer<Hot, Cold>
        var buffer = Buffer(pool: .init())
        var places: [Buffer.EntryPointer] = []
        for lineAddress in 0..<5000 {
            buffer.append(hot: Hot(lineAddress: Int64(lineAddress)), cold: Cold(lineAddress: -Int64(lineAddress)))
            places.append(buffer.pointer(of: lineAddress))
        }
        for (index, pointer) in places.enumerated() {
            let (hot, cold) = (buffer[hot: pointer].lineAddress, buffer[cold: pointer].lineAddress)
            #expect(hot == index && cold == -index)
            #expect(pointer.lineAddress < 1 << UInt64(Buffer.EntryPointer.lineAddressBits))
            let again = buffer.pointer(of: index)
            #expect(again.lineAddress == pointer.lineAddress)
        }
        buffer[hot: places[4321]].lineAddress = 7
        buffer[cold: places[4321]].lineAddress = 8
        for index in 4320...4322 {
            let (hot, cold) = (buffer[hot: places[index]].lineAddress, buffer[cold: places[index]].lineAddress)
            #expect((hot, cold) == (index == 4321 ? (7, 8) : (Int64(index), -Int64(index))))
        }
    }

    @Test("elements may have no cold part")
    func hotPartOnly() {
        var buffer = SegmentedBuffer<Hot, Nothing>(pool: .init())
        for lineAddress in 0..<100 { buffer.append(hot: Hot(lineAddress: Int64(lineAddress)), cold: Nothing()) }
        for lineAddress in 0..<100 {
            let hot = buffer[hot: buffer.pointer(of: lineAddress)].lineAddress
            #expect(hot == lineAddress)
        }
    }

    @Test("buffers that share a pool never share a cache line")
    func sharesPool() {
        typealias Buffer = SegmentedBuffer<Hot, Cold>
        let pool = Buffer.Pool()
        var one = Buffer(pool: pool)
        var other = Buffer(pool: pool)
        var lines: Set<UInt64> = []
        for lineAddress in 0..<Int64(Buffer.Pool.elementsPerChunk) {
            one.append(hot: Hot(lineAddress: lineAddress), cold: Cold(lineAddress: -lineAddress))
            other.append(hot: Hot(lineAddress: 10_000 + lineAddress), cold: Cold(lineAddress: -10_000 - lineAddress))
            lines.insert(one.pointer(of: Int(lineAddress)).lineAddress)
            lines.insert(other.pointer(of: Int(lineAddress)).lineAddress)
        }
        for lineAddress in 0..<Int64(Buffer.Pool.elementsPerChunk) {
            let (mine, others) = (one.pointer(of: Int(lineAddress)), other.pointer(of: Int(lineAddress)))
            let hot = (one[hot: mine].lineAddress, other[hot: others].lineAddress)
            let cold = (one[cold: mine].lineAddress, other[cold: others].lineAddress)
            #expect(hot == (lineAddress, 10_000 + lineAddress) && cold == (-lineAddress, -10_000 - lineAddress))
        }
        #expect(lines.count == 2 * Buffer.Pool.elementsPerChunk)
        let chunks = Set(lines.map { $0 / UInt64(Buffer.Pool.elementsPerChunk) })
        #expect(chunks.count == 2, "both buffers fit into two chunks without gaps")
    }
}
