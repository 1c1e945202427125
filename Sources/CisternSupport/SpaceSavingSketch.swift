internal import Cistern

/// By what the busiest organizations are ranked.
package enum BusiestOrder: String, Sendable, CaseIterable {
    case allowed
    case denied
    /// Denials that a limit in shadow would have made.
    case shadowDenied
}

/// The names that occur most often in a stream of names, with how often a second; in memory that does not grow with them.
///
/// The Space-Saving sketch (Metwally, Agrawal and El Abbadi, 2005): as many counters as are kept; a name that has none
/// takes the smallest one over, together with its count, and that is by how much the name may be overestimated. A name
/// that makes up more than one part in ``capacity`` of the stream is always among them. What is long past fades: each
/// occurrence weighs half as much ten seconds later, by giving later ones more weight (forward decay: Cormode et al., 2009).
package struct SpaceSavingSketch: Sendable {
    /// One name and how often it occurs.
    package struct Entry: Sendable, Equatable {
        package let name: String
        /// Occurrences a second, averaged over the last ten or twenty seconds; never an underestimate of one sketch.
        package let perSecond: Double
        /// By how much that may be too high.
        package let errorPerSecond: Double

        package init(name: String, perSecond: Double, errorPerSecond: Double) {
            self.name = name
            self.perSecond = perSecond
            self.errorPerSecond = errorPerSecond
        }
    }

    private struct Counter {
        var hash: UInt64
        var count: Double
        var error: Double
        /// Where in the heap it stands.
        var place: Int
    }

    /// How many names are kept.
    package let capacity: Int
    private var counters: [Counter] = []
    /// The name of each counter; its room is used again by the next.
    private var names: [[UInt8]] = []
    /// Counters by the hash of their name, each as its index plus one; 0 where free.
    ///
    /// At most a quarter is in use.
    private var slots: [UInt32]
    /// Indices of counters as a binary heap, the smallest count first.
    private var heap: [Int] = []
    /// What one occurrence counts in ``second``.
    private var weight = 1.0
    private var second: Int64 = 0

    /// 2^(1/10): what weighs 1 now weighs half as much as what comes ten seconds later.
    private static let growth = 1.071_773_462_536_293_1
    /// An even stream of one a second has the weight 1 / (1 - 2^(-1/10)).
    private static let perSecondOfWeight = 0.066_967_008_463_192_59

    package init(capacity: Int = 256) {
        precondition(capacity > 0, "a sketch keeps one name at least")
        self.capacity = capacity
        var slotCount = 8
        while slotCount < capacity * 4 { slotCount *= 2 }
        slots = Array(repeating: 0, count: slotCount)
    }

    /// Counts one occurrence of a name.
    package mutating func record(_ name: String, second now: Int64) {
        record(name.utf8.span, second: now)
    }

    /// Counts one occurrence of the name with these UTF-8 bytes.
    package mutating func record(_ name: Span<UInt8>, second now: Int64) {
        if now != second { advance(to: now) }
        let hash = Self.hash(name)
        if let index = find(name, hash: hash) {
            counters[index].count += weight
            sink(from: counters[index].place)
        } else if counters.count < capacity {
            let index = counters.count
            counters.append(Counter(hash: hash, count: weight, error: 0, place: index))
            names.append(name.withUnsafeBufferPointer { Array($0) })
            heap.append(index)
            occupySlot(hash: hash, index: index)
            rise(from: index)
        } else {
            let index = heap[0]
            freeSlot(of: index)
            counters[index].hash = hash
            counters[index].error = counters[index].count
            counters[index].count += weight
            names[index].removeAll(keepingCapacity: true)
            name.withUnsafeBufferPointer { names[index].append(contentsOf: $0) }
            occupySlot(hash: hash, index: index)
            sink(from: 0)
        }
    }

    // MARK: Index

    /// No secret is needed: names of one slot make a search as long as the sketch at most.
    private static let hash = SipHash(key: (low: 0, high: 0))

    private func find(_ name: Span<UInt8>, hash: UInt64) -> Int? {
        var slot = Int(truncatingIfNeeded: hash) & (slots.count &- 1)
        while slots[slot] != 0 {
            let index = Int(slots[slot]) &- 1
            if counters[index].hash == hash, name.equals(names[index]) { return index }
            slot = (slot &+ 1) & (slots.count &- 1)
        }
        return nil
    }

    private mutating func occupySlot(hash: UInt64, index: Int) {
        var slot = Int(truncatingIfNeeded: hash) & (slots.count &- 1)
        while slots[slot] != 0 { slot = (slot &+ 1) & (slots.count &- 1) }
        slots[slot] = UInt32(index &+ 1)
    }

    /// Frees the slot of a counter; whatever follows and may stand there moves up, until a free slot ends the run.
    private mutating func freeSlot(of index: Int) {
        let mask = slots.count &- 1
        var hole = Int(truncatingIfNeeded: counters[index].hash) & mask
        while slots[hole] != UInt32(index &+ 1) { hole = (hole &+ 1) & mask }
        var next = (hole &+ 1) & mask
        while slots[next] != 0 {
            let wanted = Int(truncatingIfNeeded: counters[Int(slots[next]) &- 1].hash) & mask
            if (next &- wanted) & mask >= (next &- hole) & mask {
                slots[hole] = slots[next]
                hole = next
            }
            next = (next &+ 1) & mask
        }
        slots[hole] = 0
    }

    // MARK: Reading

    /// The busiest names of several sketches taken together, the busiest first.
    ///
    /// Where no name stands out, the counters go from one to the next; names whose figure is more error than not are left
    /// out.
    package static func busiest(_ most: Int, of sketches: [SpaceSavingSketch], second now: Int64) -> [Entry] {
        var sums: [String: (count: Double, error: Double)] = [:]
        for var sketch in sketches {
            sketch.advance(to: now)
            for (counter, bytes) in zip(sketch.counters, sketch.names) {
                let name = String(decoding: bytes, as: UTF8.self)
                let sum = sums[name] ?? (0, 0)
                sums[name] = (
                    sum.count + counter.count / sketch.weight, sum.error + counter.error / sketch.weight
                )
            }
        }
        let ranked = sums.filter { $0.value.error * 2 <= $0.value.count }.sorted {
            ($1.value.count, $0.key) < ($0.value.count, $1.key)
        }
        return ranked.prefix(most).map { name, sum in
            Entry(
                name: name, perSecond: sum.count * perSecondOfWeight, errorPerSecond: sum.error * perSecondOfWeight)
        }
    }

    // MARK: Counting

    /// Lets what is past fade; after a quarter of an hour nothing of it is left.
    private mutating func advance(to now: Int64) {
        guard now > second else { return }
        guard now - second < 900 else {
            self = SpaceSavingSketch(capacity: capacity)
            second = now
            return
        }
        for _ in second..<now { weight *= Self.growth }
        second = now
        guard weight > 1e100 else { return }
        for index in counters.indices {
            counters[index].count /= weight
            counters[index].error /= weight
        }
        weight = 1
    }

    private mutating func rise(from start: Int) {
        var place = start
        while place > 0, counters[heap[place]].count < counters[heap[(place - 1) / 2]].count {
            exchange(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    private mutating func sink(from start: Int) {
        var place = start
        while true {
            var smallest = place
            for child in 2 * place + 1..<2 * place + 3 where child < heap.count {
                if counters[heap[child]].count < counters[heap[smallest]].count { smallest = child }
            }
            guard smallest != place else { return }
            exchange(place, smallest)
            place = smallest
        }
    }

    private mutating func exchange(_ one: Int, _ other: Int) {
        heap.swapAt(one, other)
        counters[heap[one]].place = one
        counters[heap[other]].place = other
    }
}
