internal import Cistern

/// The count by which the busiest organizations are ranked.
package enum DecisionKind: String, Sendable, CaseIterable {
    case allowed
    case denied
    /// Denials that a limit in shadow mode would have made.
    case shadowDenied
}

/// The most frequent keys of a stream with their rates, in memory that does not grow with the number of keys.
///
/// The Space-Saving sketch (Metwally, Agrawal and El Abbadi, 2005) has ``capacity`` counters. A key without a counter
/// takes over the smallest one together with its count, which bounds the overestimate of that key. A key that makes up
/// more than one part in ``capacity`` of the stream always has a counter. Old occurrences fade: each weighs half as
/// much ten seconds later, because later ones get more weight (forward decay: Cormode et al., 2009).
package struct SpaceSavingSketch: Sendable {
    /// A key and its rate.
    package struct Entry: Sendable, Equatable {
        package let name: String
        /// Occurrences per second, averaged over the last ten or twenty seconds; one sketch never underestimates it.
        package let perSecond: Double
        /// The most by which ``perSecond`` may be too high.
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
        /// The counter's index in the heap.
        var heapIndex: Int
    }

    /// The maximum number of keys.
    package let capacity: Int
    private var counters: [Counter] = []
    /// The key of each counter; the next key reuses its storage.
    private var names: [[UInt8]] = []
    /// Hash table of the counters: the index of a counter plus one, or 0 for a free slot.
    ///
    /// At most a quarter of the slots is in use.
    private var slots: [UInt32]
    /// Indices of counters as a binary heap, the smallest count first.
    private var heap: [Int] = []
    /// The weight of one occurrence in ``second``.
    private var weight = 1.0
    private var second: Int64 = 0

    /// 2^(1/10): the growth of the weight per second; it doubles in ten seconds.
    private static let weightGrowthPerSecond = 1.071_773_462_536_293_1
    /// 1 - 2^(-1/10): the rate per unit of weight, since a steady stream of one per second weighs the reciprocal.
    private static let ratePerUnitOfWeight = 0.066_967_008_463_192_59

    package init(capacity: Int = 256) {
        precondition(capacity > 0, "a sketch keeps at least one key")
        self.capacity = capacity
        var slotCount = 8
        while slotCount < capacity * 4 { slotCount *= 2 }
        slots = Array(repeating: 0, count: slotCount)
    }

    /// Counts one occurrence of a key.
    package mutating func record(_ name: String, second now: Int64) {
        record(name.utf8.span, second: now)
    }

    /// Counts one occurrence of the key with these UTF-8 bytes.
    package mutating func record(_ name: Span<UInt8>, second now: Int64) {
        if now != second { advance(to: now) }
        let hash = Self.hash(name)
        if let index = find(name, hash: hash) {
            counters[index].count += weight
            siftDown(from: counters[index].heapIndex)
        } else if counters.count < capacity {
            let index = counters.count
            counters.append(Counter(hash: hash, count: weight, error: 0, heapIndex: index))
            names.append(name.withUnsafeBufferPointer { Array($0) })
            heap.append(index)
            occupySlot(hash: hash, index: index)
            siftUp(from: index)
        } else {
            let index = heap[0]
            freeSlot(of: index)
            counters[index].hash = hash
            counters[index].error = counters[index].count
            counters[index].count += weight
            names[index].removeAll(keepingCapacity: true)
            name.withUnsafeBufferPointer { names[index].append(contentsOf: $0) }
            occupySlot(hash: hash, index: index)
            siftDown(from: 0)
        }
    }

    // MARK: Index

    /// Unkeyed: if all keys collide, a search still visits at most ``capacity`` counters.
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

    /// Frees a counter's slot.
    ///
    /// Backward-shift deletion: later slots of the run move into the hole if they may.
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

    /// The busiest keys of several sketches combined, the busiest first.
    ///
    /// If no key is frequent, counters pass from key to key. A key whose error is over half its count is left out.
    package static func top(_ most: Int, of sketches: [SpaceSavingSketch], second now: Int64) -> [Entry] {
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
                name: name, perSecond: sum.count * ratePerUnitOfWeight, errorPerSecond: sum.error * ratePerUnitOfWeight)
        }
    }

    // MARK: Counting

    /// Moves on to a second, which lets older occurrences fade; after 900 seconds they are dropped.
    private mutating func advance(to now: Int64) {
        guard now > second else { return }
        guard now - second < 900 else {
            self = SpaceSavingSketch(capacity: capacity)
            second = now
            return
        }
        for _ in second..<now { weight *= Self.weightGrowthPerSecond }
        second = now
        guard weight > 1e100 else { return }
        for index in counters.indices {
            counters[index].count /= weight
            counters[index].error /= weight
        }
        weight = 1
    }

    private mutating func siftUp(from start: Int) {
        var heapIndex = start
        while heapIndex > 0, counters[heap[heapIndex]].count < counters[heap[(heapIndex - 1) / 2]].count {
            exchange(heapIndex, (heapIndex - 1) / 2)
            heapIndex = (heapIndex - 1) / 2
        }
    }

    private mutating func siftDown(from start: Int) {
        var heapIndex = start
        while true {
            var smallest = heapIndex
            for child in 2 * heapIndex + 1..<2 * heapIndex + 3 where child < heap.count {
                if counters[heap[child]].count < counters[heap[smallest]].count { smallest = child }
            }
            guard smallest != heapIndex else { return }
            exchange(heapIndex, smallest)
            heapIndex = smallest
        }
    }

    private mutating func exchange(_ one: Int, _ other: Int) {
        heap.swapAt(one, other)
        counters[heap[one]].heapIndex = one
        counters[heap[other]].heapIndex = other
    }
}
