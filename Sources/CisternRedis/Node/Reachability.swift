internal import Cistern
internal import Synchronization

/// Which homes can be reached: a bit each, to be read by any thread without waiting.
final class Reachability: Sendable {
    /// How many homes there are; a Redis Cluster has as many slots.
    static let partitionCount = 16384

    private let words = InlineArray<256, Atomic<UInt64>> { _ in Atomic(0) }

    func isUp(_ partition: PartitionID) -> Bool {
        let number = Int(partition.number)
        return words[number / 64 % 256].load(ordering: .relaxed) >> UInt64(number % 64) & 1 == 1
    }

    /// Whether every home can be reached.
    var areAllUp: Bool {
        words.indices.allSatisfy { words[$0].load(ordering: .relaxed) == .max }
    }

    func set(_ partition: PartitionID, isUp: Bool) {
        let number = Int(partition.number)
        let bit = UInt64(1) << UInt64(number % 64)
        if isUp {
            words[number / 64 % 256].bitwiseOr(bit, ordering: .relaxed)
        } else {
            words[number / 64 % 256].bitwiseAnd(~bit, ordering: .relaxed)
        }
    }
}
