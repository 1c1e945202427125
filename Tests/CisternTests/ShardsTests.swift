import Testing

@testable import Cistern

@Suite("The shards")
struct ShardsTests {
    private struct State: ~Copyable, TableState {
        var table: BucketTable<Int64>
    }

    @Test("have the slots fetched from where the tables have them, however far those have grown")
    func slotPlaces() {
        let hash = NameHash(seed: 1)
        let shards = Shards<State>(capacity: 8192) { State(table: BucketTable(capacity: $0)) }
        #expect(shards.count == 8)
        var knowsSlots = shards.knowsSlots()
        #expect(!knowsSlots, "nobody has come yet")
        for number in 0..<4000 {
            let name = Array("organisation-\(number)".utf8)
            let hash = hash(name.span)
            shards.withShard(of: hash) { state in
                _ = shards.insert(name.span, hash: hash, value: Int64(number), into: &state)
            }
            guard [100, 1000, 3999].contains(number) else { continue }
            knowsSlots = shards.knowsSlots()
            #expect(knowsSlots, "after \(number + 1) names")
        }
    }
}
