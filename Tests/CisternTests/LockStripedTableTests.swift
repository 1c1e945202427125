import Testing

@testable import Cistern

@Suite("The lock-striped table")
struct LockStripedTableTests {
    private struct State: ~Copyable, TableState {
        var table: BucketTable<Number>
    }

    @Test("prefetch hints point at the current slots, even after the tables have grown")
    func prefetchHints() {
        let hash = KeyHash(seed: 1)
        let pool = BucketTable<Number>.Pool()
        let shards = LockStripedTable<State>(capacity: 8192) { State(table: BucketTable(capacity: $0, pool: pool)) }
        #expect(shards.count == 8)
        var hasCurrentHints = shards.hasCurrentHints()
        #expect(!hasCurrentHints, "no key has been inserted yet")
        for number in 0..<4000 {
            let name = Array("organization-\(number)".utf8)
            let hash = hash(name.span)
            shards.withShard(of: hash) { state in
                _ = state.table.insert(name.span, hash: hash, value: Number(number))
                state.table.updateHint(in: shards.prefetchHints, hash: hash)
            }
            guard [100, 1000, 3999].contains(number) else { continue }
            hasCurrentHints = shards.hasCurrentHints()
            #expect(hasCurrentHints, "after \(number + 1) names")
        }
    }

    @Test("there are enough shards that no table exceeds its largest capacity", arguments: [1, 8192, 1_000_000_000])
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
