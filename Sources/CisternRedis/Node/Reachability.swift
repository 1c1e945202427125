internal import Cistern
internal import Synchronization

/// Which partitions are reachable: one bit each, readable from any thread without locking.
final class Reachability: Sendable {
    /// The number of partitions, which equals the number of slots in a Redis Cluster.
    static let partitionCount = 16384

    private let words = InlineArray<256, Atomic<UInt64>> { _ in Atomic(0) }

    func isUp(_ partition: PartitionID) -> Bool {
        let number = Int(partition.number)
        return words[number / 64 % 256].load(ordering: .relaxed) >> UInt64(number % 64) & 1 == 1
    }

    /// Whether every partition is reachable.
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
