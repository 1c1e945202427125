internal import Cistern
internal import Histogram
internal import NIOCore
internal import Synchronization

/// A load on a limiter in this process, with a fixed number of requests in flight per thread.
///
/// Every thread is an event loop, as in a service. Decisions on the fast path return at once; decisions by the store
/// return on the loop. Each answered request makes room for the next.
final class LibraryLoad: Load {
    private let parts: LoadParts<Part>
    let phase = LoadPhase()
    let isOpenLoop = false

    /// - Parameters:
    ///   - depth: the number of requests in flight per loop.
    ///   - decidesRemotely: whether decisions are made remotely, at an unknown time between request and answer.
    init(
        loops: [any EventLoop], decider: any Decider, workload: Workload, depth: Int, clock: any TimeSource,
        decidesRemotely: Bool = false
    ) async throws {
        let phase = phase
        parts = try await LoadParts(on: loops) { number, loop in
            let part = Part(
                loop: loop, decider: decider, workload: workload, clock: clock, phase: phase,
                decidesRemotely: decidesRemotely, firstTurn: number * workload.turns.count / loops.count)
            part.prepare(depth: depth)
            return part
        }
    }

    func start() {
        parts.start()
    }

    func finish(countingAll: Bool) async throws -> LoadTally {
        phase.turn(to: countingAll ? .ending : .over)
        return try await parts.sum()
    }

    /// One event loop's part of the load, confined to that loop.
    private final class Part: LoadPart {
        /// A client that sends one request after the other.
        final class Client {
            var organization: UInt32 = 0
            var startedAt = Instant(nanoseconds: 0)
            /// Created once, so that requests allocate nothing.
            var resume: @Sendable (Decision) -> Void = { _ in }
        }

        /// The maximum number of decisions before the loop handles its connections again.
        private static let decisionsPerTurn = 1024

        private let loop: any EventLoop
        private let decider: any Decider
        private let workload: Workload
        private let clock: any TimeSource
        private let phase: LoadPhase
        private let decidesRemotely: Bool
        private var turn: Int
        private var idle: [Client] = []
        private var clientCount = 0
        private var isPumping = false
        private var tally = LoadTally()
        private var done: EventLoopPromise<LoadTally>?

        init(
            loop: any EventLoop, decider: any Decider, workload: Workload, clock: any TimeSource, phase: LoadPhase,
            decidesRemotely: Bool, firstTurn: Int
        ) {
            self.loop = loop
            self.decider = decider
            self.workload = workload
            self.clock = clock
            self.phase = phase
            self.decidesRemotely = decidesRemotely
            turn = firstTurn
        }

        func prepare(depth: Int) {
            clientCount = depth
            let loop = loop
            for _ in 0..<depth {
                let client = Client()
                let bound = NIOLoopBound((self, client), eventLoop: loop)
                client.resume = { decision in
                    if loop.inEventLoop {
                        bound.value.0.take(decision, for: bound.value.1)
                    } else {
                        loop.execute { bound.value.0.take(decision, for: bound.value.1) }
                    }
                }
                idle.append(client)
            }
        }

        func start() {
            pump()
        }

        /// Sends a request for each idle client, up to ``decisionsPerTurn``; then continues in the loop's next turn.
        private func pump() {
            isPumping = true
            var now = clock.now()
            for _ in 0..<Self.decisionsPerTurn {
                guard phase.current.sends, let client = idle.popLast() else {
                    isPumping = false
                    return checkDone()
                }
                client.organization = workload.turns[turn]
                turn = turn + 1 == workload.turns.count ? 0 : turn + 1
                client.startedAt = now
                let name = workload.names[Int(client.organization)]
                if let decision = decider.decide(name.span, cost: 1, now: now, resume: client.resume) {
                    now = clock.now()
                    note(decision, of: client, now: now, isImmediate: true)
                    idle.append(client)
                }
            }
            schedulePump()
        }

        private func schedulePump() {
            isPumping = true
            let bound = NIOLoopBound(self, eventLoop: loop)
            loop.execute { bound.value.pump() }
        }

        private func take(_ decision: Decision, for client: Client) {
            note(decision, of: client, now: clock.now(), isImmediate: false)
            idle.append(client)
            if !isPumping { schedulePump() }
        }

        @inline(__always)
        private func note(_ decision: Decision, of client: Client, now: Instant, isImmediate: Bool) {
            if phase.current.counts {
                tally.count(decision.outcome)
                if isImmediate {
                    tally.immediate.record(from: client.startedAt, to: now)
                } else {
                    tally.waits.record(from: client.startedAt, to: now)
                }
            }
            if client.organization < workload.metered {
                let decidedAt = decision.decidedAt.nanoseconds
                let startedAt = client.startedAt.nanoseconds
                tally.metered.append(
                    MeteredRequest(
                        organization: client.organization, isAllowed: decision.isAllowed,
                        arrivedAt: startedAt,
                        earliest: decidesRemotely ? startedAt : decidedAt, latest: decidedAt))
            }
        }

        func whenDone() -> EventLoopFuture<LoadTally> {
            let promise = loop.makePromise(of: LoadTally.self)
            done = promise
            checkDone()
            return promise.futureResult
        }

        private func checkDone() {
            guard let done, idle.count == clientCount else { return }
            self.done = nil
            // Breaks the reference cycle between this part and its clients.
            for client in idle { client.resume = { _ in } }
            done.succeed(tally)
        }
    }
}
