import Testing

@testable import Cistern

@Suite("The shards")
struct LockStripedTableTests {
    private struct State: ~Copyable, TableState {
        var table: BucketTable<Number>
    }

    @Test("have the slots fetched from where the tables have them, however far those have grown")
    func prefetchHints() {
        let hash = NameHash(seed: 1)
        let pool = BucketTable<Number>.Pool()
        let shards = LockStripedTable<State>(capacity: 8192) { State(table: BucketTable(capacity: $0, pool: pool)) }
        #expect(shards.count == 8)
        var knowsSlots = shards.knowsSlots()
        #expect(!knowsSlots, "nobody has come yet")
        for number in 0..<4000 {
            let name = Array("organization-\(number)".utf8)
            let hash = hash(name.span)
            shards.withShard(of: hash) { state in
                _ = shards.insert(name.span, hash: hash, value: Number(number), into: &state)
            }
            guard [100, 1000, 3999].contains(number) else { continue }
            knowsSlots = shards.knowsSlots()
            #expect(knowsSlots, "after \(number + 1) names")
        }
    }

    @Test("are so many that no table is asked for more than it can hold", arguments: [1, 8192, 1_000_000_000])
    func counts(capacity: Int) {
        let largest = BucketTable<Number>.largestCapacity
        var tables = 0
        let shards = LockStripedTable<State>(capacity: capacity) { shardCapacity in
            #expect(shardCapacity <= largest)
            tables += 1
            return State(table: BucketTable(capacity: shardCapacity, pool: .init()))
        }
        let count = shards.count
        #expect(count == tables && count == [1: 1, 8192: 8, 1_000_000_000: 4096][capacity])
    }
}
