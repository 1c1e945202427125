internal import DequeModule

/// The requests that wait for replies of the store, by the index of their key's entry.
struct WaitQueues: Sendable {
    /// Called with the decision of a request that had to wait.
    typealias Resume = @Sendable (Decision) -> Void

    /// A request that waits for the store.
    struct Waiter: Sendable {
        let cost: Int
        let since: Instant
        let resume: Resume
    }

    /// The requests that wait for one key, in order of arrival.
    struct Queue: Sendable {
        var waiters: Deque<Waiter> = []
        /// The number of waiters, from the front, that the request in flight includes.
        var included = 0
    }

    /// The maximum number of runs of equal cost in one lease request; further waiters are left for the next one.
    private static let maximumRuns = 64

    private var queues: [Int: Queue] = [:]

    /// The number of requests that wait for a key.
    func count(at index: Int) -> Int { queues[index]?.waiters.count ?? 0 }

    /// When the oldest request of a key began to wait.
    func oldest(at index: Int) -> Instant? { queues[index]?.waiters.first?.since }

    mutating func append(_ waiter: Waiter, at index: Int) {
        queues[index, default: Queue()].waiters.append(waiter)
    }

    /// Removes the queue of a key and returns it.
    mutating func removeQueue(at index: Int) -> Queue { queues.removeValue(forKey: index) ?? Queue() }

    /// Puts back the requests that the last reply did not decide.
    mutating func restore(_ waiters: Deque<Waiter>, at index: Int) {
        queues[index] = Queue(waiters: waiters)
    }

    /// Marks the waiters that the next lease request includes, and returns their costs as runs of equal cost.
    mutating func include(at index: Int) -> [WaitingRun] {
        guard var queue = queues[index] else { return [] }
        var runs: [WaitingRun] = []
        queue.included = 0
        for waiter in queue.waiters {
            if let last = runs.indices.last, runs[last].cost == waiter.cost {
                runs[last].count += 1
            } else if runs.count < Self.maximumRuns {
                runs.append(WaitingRun(cost: waiter.cost, count: 1))
            } else {
                break
            }
            queue.included += 1
        }
        queues[index] = queue
        return runs
    }
}
