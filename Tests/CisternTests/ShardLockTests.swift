import Foundation
import Synchronization
import Testing

@testable import Cistern

@Suite("The lock of a shard")
struct ShardLockTests {
    private struct State: ~Copyable {
        var count = 0
        var holders = 0
    }

    /// Runs `body` on dedicated threads; with more threads than processors, lock holders get preempted.
    private func run(threads: Int, _ body: @escaping @Sendable (Int) -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<threads {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        Thread.detachNewThread {
                            body(number)
                            continuation.resume()
                        }
                    }
                }
            }
        }
    }

    @Test("the lock admits one thread at a time, for any number of threads")
    func excludes() async {
        let shared = Shared()
        let violations = Number()
        await run(threads: 16) { _ in
            for _ in 0..<20_000 {
                shared.shards.withShard(at: 0) { state in
                    state.holders += 1
                    if state.holders != 1 { violations.value.add(1, ordering: .relaxed) }
                    state.count += 1
                    state.holders -= 1
                }
            }
        }
        let (count, holders) = shared.shards.withShard(at: 0) { ($0.count, $0.holders) }
        #expect(count == 16 * 20_000 && holders == 0)
        #expect(violations.value.load(ordering: .relaxed) == 0)
    }

    @Test("a thread waits while the lock is held, and gets it afterwards")
    func waits() async {
        let shared = Shared()
        let isHeld = Number()
        await run(threads: 2) { number in
            if number == 0 {
                shared.shards.withShard(at: 0) { state in
                    isHeld.value.store(1, ordering: .releasing)
                    // Longer than the other thread spins before it sleeps.
                    for _ in 0..<2_000_000 { state.holders &+= 1 }
                    state.count = 1
                }
            } else {
                while isHeld.value.load(ordering: .acquiring) == 0 {}
                shared.shards.withShard(at: 0) { state in
                    #expect(state.count == 1)
                    state.count = 2
                }
            }
        }
        #expect(shared.shards.withShard(at: 0) { $0.count } == 2)
    }

    @Test("a waiting thread gets the lock while another thread keeps retaking it")
    func givesWay() async {
        let shared = Shared()
        let progress = Number()
        let seen = Number()
        await run(threads: 2) { number in
            if number == 0 {
                // Bounded, in case the other thread never gets the lock.
                for turn in 1...2000 where seen.value.load(ordering: .relaxed) == 0 {
                    shared.shards.withShard(at: 0) { state in
                        progress.value.store(turn, ordering: .relaxed)
                        for _ in 0..<20_000 { state.holders &+= 1 }
                    }
                    shared.shards.yieldToSleepers(at: 0)
                }
            } else {
                while progress.value.load(ordering: .relaxed) < 3 {}
                shared.shards.withShard(at: 0) { _ in
                    seen.value.store(progress.value.load(ordering: .relaxed), ordering: .relaxed)
                }
            }
        }
        let turn = seen.value.load(ordering: .relaxed)
        #expect((3..<2000).contains(turn), "the waiting thread got the lock at turn \(turn)")
    }

    private final class Shared: Sendable {
        let shards = LockStripedTable<State>(capacity: 1) { _ in State() }
    }

    private final class Number: Sendable {
        let value = Atomic<Int>(0)
    }
}
