internal import Cistern
internal import Histogram
internal import NIOCore

/// One event loop's part of a load over HTTP, confined to that loop.
final class HTTPLoadPart: LoadPart {
    let workload: Workload
    let phase: LoadPhase
    let clock: any TimeSource
    let depth: Int
    private let loop: any EventLoop
    private var schedule: SendSchedule?
    private let ratePerSecond: Double?
    /// The number of servers that take turns; 1 if requests go to all servers at all times.
    private let rotatingServerCount: Int
    private var turn: Int
    private var timer: Scheduled<Void>?
    private var tally = LoadTally()
    private var done: EventLoopPromise<LoadTally>?
    private var failure: PerfError?
    /// The number of requests in flight.
    private var underWay = 0
    /// The index at which the search for a connection with room continues.
    private var nextConnection = 0
    var connections: [HTTPLoadConnection] = []

    init(
        loop: any EventLoop, workload: Workload, phase: LoadPhase, clock: any TimeSource, depth: Int,
        ratePerSecond: Double?, rotatingServerCount: Int, firstTurn: Int
    ) {
        self.loop = loop
        self.workload = workload
        self.phase = phase
        self.clock = clock
        self.depth = depth
        self.ratePerSecond = ratePerSecond
        self.rotatingServerCount = rotatingServerCount
        turn = firstTurn
    }

    func start() {
        guard let ratePerSecond else {
            for connection in connections {
                connection.fill(now: clock.now())
                connection.flush()
            }
            return
        }
        schedule = SendSchedule(startingAt: clock.now(), perSecond: ratePerSecond)
        sendDue()
    }

    /// Returns the organization of the next request, and counts the request as in flight.
    func nextOrganization() -> UInt32 {
        underWay += 1
        let organization = workload.turns[turn]
        turn = turn + 1 == workload.turns.count ? 0 : turn + 1
        return organization
    }

    // MARK: Open loop

    /// Sends due requests on connections with room; the others are sent as soon as a connection has room.
    private func sendDue() {
        guard phase.current.sends, schedule != nil else { return }
        let now = clock.now()
        var used: [HTTPLoadConnection] = []
        while let intended = schedule?.due(at: now), let connection = connectionWithRoom(at: now) {
            schedule?.sent()
            connection.send(intended: intended, now: now)
            if used.last !== connection { used.append(connection) }
        }
        for connection in used { connection.flush() }
        guard let next = schedule?.next, next > now, timer == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleTask(in: .nanoseconds(next.nanoseconds - now.nanoseconds)) {
            bound.value.timer = nil
            bound.value.sendDue()
        }
    }

    private func connectionWithRoom(at now: Instant) -> HTTPLoadConnection? {
        guard underWay < connections.count * depth else { return nil }
        let server = Int(now.milliseconds / 1000) % rotatingServerCount
        for _ in connections.indices {
            let index = nextConnection
            nextConnection = index + 1 == connections.count ? 0 : index + 1
            if rotatingServerCount == 1 || connections[index].server == server, connections[index].hasRoom {
                return connections[index]
            }
        }
        return nil
    }

    // MARK: Responses

    func take(_ status: Int, organization: UInt32, intended: Instant, sentAt: Instant, now: Instant) {
        underWay -= 1
        if phase.current.counts {
            switch status {
            case 200: tally.allowed += 1
            case 429: tally.denied += 1
            case 503: tally.refused += 1
            default: tally.failed += 1
            }
            tally.waits.record(from: intended, to: now)
        }
        if organization < workload.metered {
            tally.metered.append(
                MeteredRequest(
                    organization: organization, isAllowed: status == 200, arrivedAt: intended.nanoseconds,
                    earliest: sentAt.nanoseconds, latest: now.nanoseconds))
        }
    }

    /// Called when a connection has handled all received responses and may have room again.
    func responsesHandled(on connection: HTTPLoadConnection, now: Instant) {
        if !phase.current.sends { return checkDone() }
        if ratePerSecond == nil {
            connection.fill(now: now)
            connection.flush()
        } else {
            sendDue()
        }
    }

    func connectionEnded(_ connection: HTTPLoadConnection, _ reason: String) {
        guard done == nil || connection.inFlight > 0 else { return }
        phase.fail()
        if failure == nil {
            failure = PerfError("\(connection.target) \(reason) in the middle of the run", .unavailable)
        }
        checkDone()
    }

    // MARK: The end

    func whenDone() -> EventLoopFuture<LoadTally> {
        let promise = loop.makePromise(of: LoadTally.self)
        done = promise
        timer?.cancel()
        // Due requests that never found a connection count as failed, with the wait since their scheduled time.
        let now = clock.now()
        while phase.current.counts, connectionWithRoom(at: now) == nil, let intended = schedule?.due(at: now) {
            schedule?.sent()
            tally.failed += 1
            tally.waits.record(from: intended, to: now)
        }
        checkDone()
        // A server that hangs must not block the benchmark.
        let bound = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleTask(in: .seconds(10)) {
            guard bound.value.done != nil else { return }
            bound.value.failure = PerfError("the server has not answered for ten seconds", .unavailable)
            bound.value.checkDone()
        }
        return promise.futureResult
    }

    private func checkDone() {
        guard let done, failure != nil || connections.allSatisfy({ $0.inFlight == 0 }) else { return }
        self.done = nil
        timer?.cancel()
        for connection in connections { connection.close() }
        connections = []
        if let failure { done.fail(failure) } else { done.succeed(tally) }
    }
}

/// The schedule of an open loop: requests at equal intervals from a start time.
struct SendSchedule {
    private let start: Instant
    private let interval: Double
    private var count = 0

    init(startingAt start: Instant, perSecond: Double) {
        self.start = start
        interval = 1e9 / perSecond
    }

    /// The scheduled time of the next request; it may be long ago.
    var next: Instant { Instant(nanoseconds: start.nanoseconds + Int64(Double(count) * interval)) }

    /// The scheduled time of the next request; nil if it is in the future.
    func due(at now: Instant) -> Instant? { next > now ? nil : next }

    /// Marks the next request as sent.
    mutating func sent() { count += 1 }
}
