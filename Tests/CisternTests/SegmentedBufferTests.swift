import Testing

@testable import Cistern

@Suite("A buffer of segments")
struct SegmentedBufferTests {
    private struct Near: BitwiseCopyable {
        var number: Int64
        var filling: InlineArray<7, Int64> = .init(repeating: 0)
    }

    private struct Far: BitwiseCopyable {
        var number: Int64
        var filling: InlineArray<11, Int64> = .init(repeating: 0)
    }

    private struct Nothing: BitwiseCopyable {}

    @Test("keeps every element where it is, and finds both its parts by position, by place and by the place's number")
    func places() {
        typealias Buffer = SegmentedBuffer<Near, Far>
        var buffer = Buffer(pool: .init())
        var places: [Buffer.Place] = []
        for number in 0..<5000 {
            buffer.append(near: Near(number: Int64(number)), far: Far(number: -Int64(number)))
            places.append(buffer.place(of: number))
        }
        for (position, place) in places.enumerated() {
            let (near, far) = (buffer[near: place].number, buffer[far: place].number)
            #expect(near == position && far == -position)
            #expect(place.number < 1 << UInt64(Buffer.Place.numberBits))
            let again = buffer.place(of: position)
            #expect(again.number == place.number)
        }
        buffer[near: places[4321]].number = 7
        buffer[far: places[4321]].number = 8
        for position in 4320...4322 {
            let (near, far) = (buffer[near: places[position]].number, buffer[far: places[position]].number)
            #expect((near, far) == (position == 4321 ? (7, 8) : (Int64(position), -Int64(position))))
        }
    }

    @Test("may have elements without a far part")
    func nearAlone() {
        var buffer = SegmentedBuffer<Near, Nothing>(pool: .init())
        for number in 0..<100 { buffer.append(near: Near(number: Int64(number)), far: Nothing()) }
        for number in 0..<100 {
            let near = buffer[near: buffer.place(of: number)].number
            #expect(near == number)
        }
    }

    @Test("keeps what it has apart from what others have who take segments of the same pool, line beside line")
    func sharesPool() {
        typealias Buffer = SegmentedBuffer<Near, Far>
        let pool = Buffer.Pool()
        var one = Buffer(pool: pool)
        var other = Buffer(pool: pool)
        var lines: Set<UInt64> = []
        for number in 0..<Int64(Buffer.Pool.chunkCount) {
            one.append(near: Near(number: number), far: Far(number: -number))
            other.append(near: Near(number: 10_000 + number), far: Far(number: -10_000 - number))
            lines.insert(one.place(of: Int(number)).number)
            lines.insert(other.place(of: Int(number)).number)
        }
        for number in 0..<Int64(Buffer.Pool.chunkCount) {
            let (mine, others) = (one.place(of: Int(number)), other.place(of: Int(number)))
            let near = (one[near: mine].number, other[near: others].number)
            let far = (one[far: mine].number, other[far: others].number)
            #expect(near == (number, 10_000 + number) && far == (-number, -10_000 - number))
        }
        #expect(lines.count == 2 * Buffer.Pool.chunkCount)
        let chunks = Set(lines.map { $0 / UInt64(Buffer.Pool.chunkCount) })
        #expect(chunks.count == 2, "two chunks have room for all of them, with nothing between their lines")
    }
}
