import CisternTesting
import Testing

@testable import Cistern

@Suite("The bucket table")
struct BucketTableTests {
    private let hash = SipHash(key: (low: 1, high: 2))

    /// Names of every length from none to beyond what stands inline, many with a long common start.
    private func name(_ number: Int) -> [UInt8] {
        Array((String(repeating: "organisation-", count: number % 7) + "\(number)").utf8)
    }

    @Test("agrees with a dictionary through a hundred thousand random insertions, changes and evictions")
    func agreesWithADictionary() {
        var random = SeededRandom(seed: 7)
        var table = BucketTable<Int64>(capacity: 500)
        var model: [[UInt8]: Int64] = [:]
        for step in 0..<100_000 {
            let name = name(Int.random(in: 0..<900, using: &random))
            let hash = hash(name.span)
            if let position = table.find(name.span, hash: hash) {
                #expect(model[name] == table[position])
                table[position] = Int64(step)
                model[name] = Int64(step)
            } else {
                #expect(model[name] == nil)
                if table.isFull {
                    var evicted: Int64?
                    let found = table.evict(steps: 2000) { value in
                        evicted = value
                        return true
                    }
                    #expect(found)
                    let gone = model.first { $0.value == evicted }
                    if let gone { model[gone.key] = nil }
                }
                let position = table.insert(name.span, hash: hash, value: Int64(step))
                #expect(table.key(at: position) == name)
                model[name] = Int64(step)
            }
            #expect(table.count == model.count)
        }
        for (name, value) in model {
            let position = table.find(name.span, hash: hash(name.span))
            #expect(position.map { table[$0] } == value)
        }
    }

    @Test("keeps apart names whose hashes are the same")
    func survivesEqualHashes() {
        var table = BucketTable<Int64>(capacity: 100)
        for number in 0..<100 {
            _ = table.insert(name(number).span, hash: 42, value: Int64(number))
        }
        for number in 0..<100 {
            let position = table.find(name(number).span, hash: 42)
            #expect(position.map { table[$0] } == Int64(number))
        }
        #expect(table.find(name(100).span, hash: 42) == nil)
    }

    @Test("keeps a name in use and lets the idle one go")
    func evictsTheIdle() {
        var table = BucketTable<Int64>(capacity: 3)
        for number in 0..<3 { _ = table.insert(name(number).span, hash: hash(name(number).span), value: Int64(number)) }
        // The first round of the hand only takes note; after it, one of the three is used again.
        #expect(!table.evict(steps: 3) { _ in true })
        _ = table.find(name(0).span, hash: hash(name(0).span))
        #expect(table.evict(steps: 3) { _ in true })
        #expect(table.find(name(0).span, hash: hash(name(0).span)) != nil)
        #expect(table.count == 2)
    }

    @Test("evicts nothing that may not go, in a bounded number of steps")
    func evictsOnlyWhatMayGo() {
        var table = BucketTable<Int64>(capacity: 10)
        for number in 0..<10 { _ = table.insert(name(number).span, hash: hash(name(number).span), value: 0) }
        var looks = 0
        #expect(
            !table.evict(steps: 64) { _ in
                looks += 1; return false
            })
        #expect(looks <= 64)
        #expect(table.count == 10)
    }
}
