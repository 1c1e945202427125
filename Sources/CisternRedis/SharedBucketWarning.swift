internal import Cistern
internal import Logging
internal import Synchronization

/// Warns if two stores of one process share buckets: two limiters with two purposes then lack a namespace.
///
/// Servers of one service share buckets on purpose, but they are different processes.
enum SharedBucketWarning {
    /// How many running stores use each namespace on each node.
    private static let uses = Mutex<[String: Int]>([:])

    /// Notes that a store has started; returns whether another one shares its buckets.
    static func begin(namespace: String, nodes: [String]) -> Bool {
        uses.withLock { uses in
            nodes.reduce(false) { isShared, node in
                let count = uses["\(namespace) \(node)", default: 0]
                uses["\(namespace) \(node)"] = count + 1
                return isShared || count > 0
            }
        }
    }

    /// Notes that a store has stopped.
    static func end(namespace: String, nodes: [String]) {
        uses.withLock { uses in
            for node in nodes {
                let count = uses["\(namespace) \(node)", default: 1] - 1
                uses["\(namespace) \(node)"] = count > 0 ? count : nil
            }
        }
    }
}
