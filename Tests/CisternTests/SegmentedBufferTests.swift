import Testing

@testable import Cistern

@Suite("A buffer of segments")
struct SegmentedBufferTests {
    private struct Element: BitwiseCopyable {
        var number: Int64
        var filling: InlineArray<18, Int64> = .init(repeating: 0)
    }

    @Test("keeps every element where it is, and finds it by position, by place and by the place's number")
    func places() {
        var buffer = SegmentedBuffer<Element>()
        var places: [SegmentedBuffer<Element>.Place] = []
        for number in 0..<5000 {
            buffer.append(Element(number: Int64(number)))
            places.append(buffer.place(of: number))
        }
        for (position, place) in places.enumerated() {
            let (byPlace, byPosition) = (buffer[place], buffer[position])
            #expect(byPlace.number == position && byPosition.number == position)
            #expect(place.number < 1 << UInt64(SegmentedBuffer<Element>.Place.numberBits))
            #expect(SegmentedBuffer<Element>.Place(number: place.number).number == place.number)
            let again = buffer.place(of: position)
            #expect(again.number == place.number)
        }
        buffer[places[4321]].number = -1
        let changed = buffer[4321].number
        #expect(changed == -1)
    }
}
