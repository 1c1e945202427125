import Testing

@testable import Cistern

@Suite("A segmented buffer")
struct SegmentedBufferTests {
    private struct Hot: BitwiseCopyable {
        var number: Int64
        var filling: InlineArray<7, Int64> = .init(repeating: 0)
    }

    private struct Cold: BitwiseCopyable {
        var number: Int64
        var filling: InlineArray<11, Int64> = .init(repeating: 0)
    }

    private struct Nothing: BitwiseCopyable {}

    @Test("an element never moves, and index and entry pointer both find its hot and cold parts")
    func places() {
        typealias Buffer = SegmentedBuffer<Hot, Cold>
        var buffer = Buffer(pool: .init())
        var places: [Buffer.EntryPointer] = []
        for number in 0..<5000 {
            buffer.append(hot: Hot(number: Int64(number)), cold: Cold(number: -Int64(number)))
            places.append(buffer.pointer(of: number))
        }
        for (index, pointer) in places.enumerated() {
            let (hot, cold) = (buffer[hot: pointer].number, buffer[cold: pointer].number)
            #expect(hot == index && cold == -index)
            #expect(pointer.number < 1 << UInt64(Buffer.EntryPointer.numberBits))
            let again = buffer.pointer(of: index)
            #expect(again.number == pointer.number)
        }
        buffer[hot: places[4321]].number = 7
        buffer[cold: places[4321]].number = 8
        for index in 4320...4322 {
            let (hot, cold) = (buffer[hot: places[index]].number, buffer[cold: places[index]].number)
            #expect((hot, cold) == (index == 4321 ? (7, 8) : (Int64(index), -Int64(index))))
        }
    }

    @Test("elements may have no cold part")
    func nearAlone() {
        var buffer = SegmentedBuffer<Hot, Nothing>(pool: .init())
        for number in 0..<100 { buffer.append(hot: Hot(number: Int64(number)), cold: Nothing()) }
        for number in 0..<100 {
            let hot = buffer[hot: buffer.pointer(of: number)].number
            #expect(hot == number)
        }
    }

    @Test("buffers that share a pool never share a cache line")
    func sharesPool() {
        typealias Buffer = SegmentedBuffer<Hot, Cold>
        let pool = Buffer.Pool()
        var one = Buffer(pool: pool)
        var other = Buffer(pool: pool)
        var lines: Set<UInt64> = []
        for number in 0..<Int64(Buffer.Pool.chunkCount) {
            one.append(hot: Hot(number: number), cold: Cold(number: -number))
            other.append(hot: Hot(number: 10_000 + number), cold: Cold(number: -10_000 - number))
            lines.insert(one.pointer(of: Int(number)).number)
            lines.insert(other.pointer(of: Int(number)).number)
        }
        for number in 0..<Int64(Buffer.Pool.chunkCount) {
            let (mine, others) = (one.pointer(of: Int(number)), other.pointer(of: Int(number)))
            let hot = (one[hot: mine].number, other[hot: others].number)
            let cold = (one[cold: mine].number, other[cold: others].number)
            #expect(hot == (number, 10_000 + number) && cold == (-number, -10_000 - number))
        }
        #expect(lines.count == 2 * Buffer.Pool.chunkCount)
        let chunks = Set(lines.map { $0 / UInt64(Buffer.Pool.chunkCount) })
        #expect(chunks.count == 2, "both buffers fit into two chunks without gaps")
    }
}
