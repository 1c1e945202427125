import CisternSupport
import CisternTesting
import Testing

@testable import Cistern

@Suite("The bucket table")
struct BucketTableTests {
    private let hash = KeyHash(seed: 1)

    /// Names from one byte to more than the inline key holds, many with a long common prefix.
    private func name(_ number: Int) -> [UInt8] {
        Array((String(repeating: "organization-", count: number % 7) + "\(number)").utf8)
    }

    @Test("the table matches a dictionary over 100,000 random insertions, changes and evictions")
    func agreesWithADictionary() {
        var random = SeededRandom(seed: 7)
        var table = BucketTable<Number>(capacity: 500, pool: .init())
        var model: [[UInt8]: Int64] = [:]
        for step in 0..<100_000 {
            let name = name(Int.random(in: 0..<900, using: &random))
            let hash = hash(name.span)
            if let index = table.find(name.span, hash: hash) {
                #expect(model[name] == table[index].number)
                table[index] = Number(step)
                model[name] = Int64(step)
            } else {
                #expect(model[name] == nil)
                if table.isFull {
                    let evicted = table.evict(steps: 2000, hash: self.hash.callAsFunction) { _ in true }
                    #expect(evicted != nil)
                    let gone = model.first { $0.value == evicted?.number }
                    if let gone { model[gone.key] = nil }
                }
                let index = table.insert(name.span, hash: hash, value: Number(step))
                #expect(table.key(at: index) == name)
                model[name] = Int64(step)
            }
            #expect(table.count == model.count)
        }
        for (name, value) in model {
            let index = table.find(name.span, hash: hash(name.span))
            #expect(index.flatMap { table[$0].number } == value)
        }
    }

    @Test("names with equal hashes stay separate")
    func survivesEqualHashes() {
        var table = BucketTable<Number>(capacity: 100, pool: .init())
        for number in 0..<100 {
            _ = table.insert(name(number).span, hash: 42, value: Number(number))
        }
        for number in 0..<100 {
            let index = table.find(name(number).span, hash: 42)
            #expect(index.flatMap { table[$0].number } == Int64(number))
        }
        #expect(table.find(name(100).span, hash: 42) == nil)
    }

    @Test("eviction keeps a name in use and removes an idle one")
    func evictsTheIdle() {
        let table = Table(capacity: 3)
        for number in 0..<3 { table.insert(name(number)) }
        // All entries are fresh at first, so eviction takes the first one and marks the others idle.
        #expect(table.evict(steps: 3))
        #expect(table.contains(name(1)))
        #expect(table.evict(steps: 3))
        #expect(table.contains(name(1)) && !table.contains(name(2)))
    }

    @Test("eviction finds an entry within 64 steps, even if all 1000 are busy")
    func evictsAmongTheBusy() {
        let table = Table(capacity: 1000)
        for number in 0..<1000 { table.insert(name(number)) }
        for newcomer in 1000..<1030 {
            #expect(table.evict(steps: 64))
            table.insert(name(newcomer))
            for number in 0..<1000 { _ = table.contains(name(number)) }
        }
    }

    @Test("eviction removes no protected entry and stops after a bounded number of steps")
    func evictsOnlyWhatMayGo() {
        var table = BucketTable<Number>(capacity: 10, pool: .init())
        for number in 0..<10 { _ = table.insert(name(number).span, hash: hash(name(number).span), value: Number(0)) }
        var looks = 0
        let gone = table.evict(steps: 64, hash: hash.callAsFunction) { _ in
            looks += 1
            return false
        }
        #expect(gone == nil)
        #expect(looks == 10)
        #expect(table.count == 10)
    }

    @Test("a table of the largest capacity evicts after at most 64 checks and inserts a new name")
    func evictsAmongMany() {
        let capacity = BucketTable<Number>.largestCapacity
        var table = BucketTable<Number>(capacity: capacity, pool: .init())
        for number in 0..<capacity {
            let name = InlineArray<8, UInt8> { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
            _ = table.insert(name.span, hash: hash(name.span), value: Number(number))
        }
        for newcomer in capacity..<capacity + 100 {
            var looks = 0
            let gone = table.evict(hash: hash.callAsFunction) { _ in
                looks += 1
                return true
            }
            #expect(gone != nil && looks <= 64)
            let name = InlineArray<8, UInt8> { UInt8(truncatingIfNeeded: newcomer >> ($0 * 8)) }
            _ = table.insert(name.span, hash: hash(name.span), value: Number(newcomer))
        }
        #expect(table.count == capacity && table.endIndex == capacity)
        for number in [0, capacity - 1, capacity + 99] {
            let name = InlineArray<8, UInt8> { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
            let value = table.find(name.span, hash: hash(name.span)).flatMap { table[$0].number }
            #expect(value == (number == 0 ? nil : Int64(number)), "the first name was evicted first")
        }
    }

    @Test("names that differ in one byte or in trailing zeros stay separate, at any length")
    func comparesEveryByte() {
        var table = BucketTable<Number>(capacity: 10_000, pool: .init())
        var names: [[UInt8]] = []
        for count in 0...40 {
            names.append([UInt8](repeating: 0, count: count))
            for pointer in 0..<count {
                var name = [UInt8](repeating: 0x61, count: count)
                name[pointer] = 0x62
                names.append(name)
            }
        }
        for (number, name) in names.enumerated() { _ = table.insert(name.span, hash: 42, value: Number(number)) }
        for (number, name) in names.enumerated() {
            let index = table.find(name.span, hash: 42)
            #expect(index.flatMap { table[$0].number } == Int64(number))
            #expect(index.map { table.key(at: $0) } == name)
        }
    }

    @Test("the memory sizes of leases and table entries do not grow")
    func sizes() {
        #expect(MemoryLayout<PackedLease>.size == 128)
        #expect(MemoryLayout<BucketEntry<HotLease>>.stride == 64 && MemoryLayout<PackedLease.Cold>.stride == 104)
        #expect(MemoryLayout<BucketEntry<LimitedBucket>>.stride == 64 && MemoryLayout<LimitedBucket.Cold>.size == 0)
    }
}

/// A number stored in both the hot and the cold part of a value.
struct Number: TableValue {
    struct Hot: BitwiseCopyable {
        var number: Int64
        var filling: (Int64, Int64) = (1, 2)
    }

    typealias Cold = Int64

    private var cold: Int64
    private var hot: Hot

    init(_ number: Int) {
        hot = Hot(number: Int64(number))
        cold = ~hot.number
    }

    /// The number; nil if the two parts belong to different values.
    var number: Int64? { cold == ~hot.number ? hot.number : nil }
}

/// A table wrapped in a class, so that `#expect` can call its mutating methods.
private final class Table {
    private let hash = KeyHash(seed: 1)
    private var table: BucketTable<Number>

    init(capacity: Int) {
        table = BucketTable(capacity: capacity, pool: .init())
    }

    func insert(_ name: [UInt8]) {
        _ = table.insert(name.span, hash: hash(name.span), value: Number(0))
    }

    func contains(_ name: [UInt8]) -> Bool {
        table.find(name.span, hash: hash(name.span)) != nil
    }

    func evict(steps: Int) -> Bool {
        table.evict(steps: steps, hash: hash.callAsFunction) { _ in true } != nil
    }
}
