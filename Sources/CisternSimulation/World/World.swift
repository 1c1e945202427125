internal import Cistern
internal import CisternCluster
internal import CisternSupport

/// A deterministic simulation of servers, nodes, network, clocks and load, in one thread and from one seed.
///
/// The servers run the production limiter. Everything else is a discrete-event simulation: the next event in the queue
/// is handled, and may add more events. The same settings give the same events on every run.
package final class World {
    enum Event {
        case arrival(Arrival)
        case message(Message, node: Int)
        case reply(Reply)
        case deadline(server: Int, incarnation: Int, ticket: Int)
        case probe(server: Int, incarnation: Int, node: Int)
        case connectionLost(server: Int, incarnation: Int, node: Int)
        case tick(server: Int, incarnation: Int)
        case wakeServer(Int)
        case wakeNode(Int)
        case fault
        case stepClock
        case restart(server: Int)
        case revive(node: Int)
        case sample
        case recoveryBegins
    }

    /// A request that waits for a server's decision.
    struct Request {
        var server: Int
        var key: Int
        var cost: Int
        var arrivedAt: Time
        var serverPausedTimeAtArrival: Time
    }

    let settings: WorldSettings
    let names: [[UInt8]]
    let keys: [[UInt8]: Int]
    var faultInjection: any FaultInjection
    var now: Time = 0
    var queue = EventQueue<Event>()
    var servers: [Server] = []
    var nodes: [Node]
    var network: Network
    /// The node of each key.
    var partitions: [Int]
    var workload: Workload
    var faultRandom: SeededRandom
    var probeRandom: SeededRandom
    var clockStepRandom: SeededRandom
    var requests: [Int: Request] = [:]
    /// The total time that each server has been paused so far.
    var pausedTimes: [Time]
    var ticket = 0
    var grantCount = 0
    var isRecovering = false
    /// A hash of all observations: FNV-1a over 64-bit words.
    private var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    var tally: Tally
    var checkers: CheckerSet

    package init(_ settings: WorldSettings, faultInjection: any FaultInjection = NoFaultInjection()) {
        var settings = settings
        faultInjection.change(&settings.limiter)
        self.settings = settings
        self.faultInjection = faultInjection
        names = (0..<settings.keys).map { Array("org-\($0)".utf8) }
        keys = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        nodes = (0..<settings.nodes).map { Node(id: $0) }
        partitions = (0..<settings.keys).map { $0 % settings.nodes }
        network = Network(settings, random: SeededRandom(seed: settings.seed, purpose: 2))
        workload = Workload(
            settings.workload, load: settings.load, refillPerSecond: settings.limit.refillPerSecond,
            servers: settings.servers, keys: settings.keys, population: settings.population,
            period: .milliseconds(settings.periodMilliseconds), random: SeededRandom(seed: settings.seed, purpose: 3))
        faultRandom = SeededRandom(seed: settings.seed, purpose: 4)
        probeRandom = SeededRandom(seed: settings.seed, purpose: 5)
        clockStepRandom = SeededRandom(seed: settings.seed, purpose: 7)
        pausedTimes = Array(repeating: 0, count: settings.servers)
        tally = Tally(settings)
        checkers = CheckerSet(settings)
        for id in 0..<settings.servers { servers.append(makeServer(id, incarnation: 0)) }
    }

    /// Runs the world to its end.
    ///
    /// - Parameter progress: called at each sample with the fraction of the time that has passed, 0 to 1.
    package func run(progress: (Double) -> Void = { _ in }) -> Outcome {
        let end = Time.milliseconds(settings.durationMilliseconds + settings.recoveryMilliseconds)
        let first = workload.next(after: 0)
        queue.add(.arrival(first), at: first.time)
        queue.add(.sample, at: .milliseconds(100))
        for id in servers.indices { scheduleTick(id) }
        if settings.recoveryMilliseconds > 0 {
            queue.add(.recoveryBegins, at: .milliseconds(settings.durationMilliseconds))
        }
        if settings.faults.injectsFaults { queue.add(.fault, at: faultRandom.number(0...Time.milliseconds(200))) }
        scheduleFirstStep()
        while let next = queue.nextTime, next <= end, checkers.violations.isEmpty, let event = queue.popFirst() {
            now = event.time
            handle(event.event)
            if case .sample = event.event { progress(Double(now) / Double(end)) }
        }
        if checkers.violations.isEmpty { now = end }
        checkers.finish(
            FinalState(
                now: now, names: names, servers: servers, nodes: nodes, requests: requests, tally: tally,
                isRecovering: isRecovering,
                aliveLesseeIDs: Set(
                    servers.filter(\.isUp).map { faultInjection.lesseeID($0.lesseeID, server: $0.id) })))
        return Outcome(
            settings: settings, tally: tally, peakOverAdmissionPercent: checkers.peakOverAdmissionPercent, end: now,
            digest: digest,
            violations: checkers.violations)
    }

    func observe(_ observation: Observation) {
        digest = (digest ^ observation.number ^ UInt64(bitPattern: now)) &* 0x0000_0100_0000_01b3
        tally.observe(observation, at: now)
        checkers.observe(observation, at: now)
    }

    // MARK: Events

    private func handle(_ event: Event) {
        switch event {
        case .arrival(let arrival):
            arrive(arrival)
            let next = workload.next(after: now)
            queue.add(.arrival(next), at: next.time)
        case .message(let message, let node): receive(message, at: node)
        case .reply(let reply): unlessPaused(reply.server, event) { take(reply) }
        case .deadline(let server, let incarnation, let ticket):
            unlessPaused(server, event) { checkDeadline(ticket, of: server, incarnation: incarnation) }
        case .probe(let server, let incarnation, let node):
            unlessPaused(server, event) { probe(node, from: server, incarnation: incarnation) }
        case .connectionLost(let server, let incarnation, let node):
            unlessPaused(server, event) {
                if isCurrent(server, incarnation) { nodeFailed(node, at: server, .unreachable) }
            }
        case .tick(let server, let incarnation): unlessPaused(server, event) { tick(server, incarnation: incarnation) }
        case .wakeServer(let id): wakeServer(id)
        case .wakeNode(let id): wakeNode(id)
        case .fault: injectFault()
        case .stepClock: stepClock()
        case .restart(let server): restart(server)
        case .revive(let node): nodes[node].isUp = true
        case .sample: sample()
        case .recoveryBegins: beginRecovery()
        }
    }

    func isCurrent(_ server: Int, _ incarnation: Int) -> Bool {
        servers[server].isUp && servers[server].incarnation == incarnation
    }

    /// Runs `body`, or queues the event if the server is paused.
    private func unlessPaused(_ server: Int, _ event: Event, _ body: () -> Void) {
        if servers[server].pausesUntil > now {
            servers[server].backlog.append(event)
        } else {
            body()
        }
    }

    // MARK: Servers

    func makeServer(_ id: Int, incarnation: Int) -> Server {
        var random = SeededRandom(seed: settings.seed, purpose: 100 + UInt64(id) + 1000 * UInt64(incarnation))
        let drift = random.number(-settings.driftPartsPerMillion...settings.driftPartsPerMillion)
        let clock = DriftingClock(
            startingAt: now, reading: random.number(Time.milliseconds(1000)...Time.milliseconds(100_000)),
            partsPerMillion: drift)
        var server = Server(
            id: id, incarnation: incarnation, clock: clock,
            limiter: .writeBehind(WriteBehindLimiter(limit: settings.limit)),
            link: Link(keys: names), health: [], routes: partitions,
            lastArrivals: Array(repeating: nil, count: settings.keys))
        for _ in 0..<settings.nodes {
            var health = NodeHealth()
            _ = health.probe()
            _ = health.succeed()
            server.health.append(health)
        }
        guard settings.policy != .writeBehind else { return server }
        let sizing: any LeaseSizing =
            switch settings.policy {
            case .fixedLease: FixedSizing(tokens: 50)
            case .perRequest: PerRequestSizing()
            case .cistern, .writeBehind: DemandSizing()
            }
        server.limiter = .cistern(
            RateLimiterEngine(
                limits: Limits(standard: settings.limit), store: server.link,
                lesseeID: faultInjection.lesseeID(server.lesseeID, server: id), settings: settings.limiter,
                sizing: sizing,
                seed: settings.seed))
        return server
    }

    private func arrive(_ arrival: Arrival) {
        guard servers[arrival.server].isUp else { return }
        unlessPaused(arrival.server, .arrival(arrival)) { passToLimiter(arrival) }
    }

    /// Passes a request to its server's limiter, which decides now or later.
    func passToLimiter(_ arrival: Arrival) {
        let (id, key) = (arrival.server, arrival.key)
        ticket += 1
        let (number, local) = (ticket, servers[id].clock.reading(at: now))
        servers[id].lastArrivals[key] = now
        requests[number] = Request(
            server: id, key: key, cost: arrival.cost, arrivedAt: now, serverPausedTimeAtArrival: pausedTimes[id])
        observe(.arrived(server: id, key: key, cost: arrival.cost))
        switch servers[id].limiter {
        case .cistern(let limiter):
            let inbox = servers[id].inbox
            let name = names[key]
            let decision = limiter.decide(name.span, cost: arrival.cost, now: local) { inbox.add(number, $0) }
            if let decision { settle(number, decision) }
            drain(id)
        case .writeBehind(var limiter):
            let isAllowed = limiter.decide(key, cost: arrival.cost, now: local)
            servers[id].limiter = .writeBehind(limiter)
            let decision: Decision =
                isAllowed
                ? .allowed(settings.limit, balanceUnits: 0, at: local)
                : .denied(settings.limit, balanceUnits: 0, retryAfterMilliseconds: 1, at: local)
            settle(number, decision)
        }
    }

    private func settle(_ number: Int, _ decision: Decision) {
        guard let request = requests.removeValue(forKey: number) else { return }
        observe(
            .decided(
                Decided(
                    server: request.server, key: request.key, cost: request.cost,
                    decision: decision, arrivedAt: request.arrivedAt,
                    paused: pausedTimes[request.server] - request.serverPausedTimeAtArrival)))
    }

    /// Sends the limiter's queued requests, and records its queued decisions.
    func drain(_ id: Int) {
        for outgoing in servers[id].link.takeOutgoing() { send(outgoing, from: id) }
        for (number, decision) in servers[id].inbox.take() { settle(number, decision) }
    }

    func scheduleTick(_ id: Int) {
        let interval = settings.policy == .writeBehind ? WriteBehindLimiter.intervalMilliseconds : 10
        queue.add(.tick(server: id, incarnation: servers[id].incarnation), at: now + .milliseconds(interval))
    }

    private func tick(_ id: Int, incarnation: Int) {
        guard isCurrent(id, incarnation) else { return }
        switch servers[id].limiter {
        case .cistern(let limiter):
            limiter.returnIdleLeases(now: servers[id].clock.reading(at: now))
            drain(id)
        case .writeBehind(var limiter):
            for (key, tokens) in limiter.takeUnreported() {
                send(
                    .settle(key: key, tokens: tokens), to: servers[id].routes[key], from: id)
            }
            servers[id].limiter = .writeBehind(limiter)
        }
        scheduleTick(id)
    }

    // MARK: Sampling

    /// The largest fleet of which every grant observes all servers.
    private static let smallFleet = 16

    /// Observes the tokens that each server holds for a key, and its tokens on record at the key's node.
    ///
    /// - Parameter granted: the server that has just got a grant, the only one observed in a large fleet; nil for all.
    func observeHoldings(of key: Int, granted: Int? = nil) {
        let node = nodes[partitions[key]]
        let bucket = node.entries[faultInjection.bucket(of: key)]?.bucket
        let time = bucket?.time(atClock: node.clock(at: now).storeMilliseconds) ?? 0
        let observed = granted.map { servers.count > Self.smallFleet ? servers[$0...$0] : servers[...] } ?? servers[...]
        for server in observed where server.isUp {
            guard case .cistern(let limiter) = server.limiter else { continue }
            let name = names[key]
            let leased = limiter.outstandingTokens(name.span, now: server.clock.reading(at: now))
            guard leased > 0 else { continue }
            let lesseeID = faultInjection.lesseeID(server.lesseeID, server: server.id)
            let record = bucket?.records[lesseeID].flatMap { $0.endsMilliseconds > time ? $0 : nil }
            observe(.held(server: server.id, key: key, leased: leased, recorded: record?.tokens ?? 0))
        }
    }

    private func sample() {
        for key in names.indices { observeHoldings(of: key) }
        var lessees: [String: Int] = [:]
        for server in servers where server.isUp {
            lessees[faultInjection.lesseeID(server.lesseeID, server: server.id)] = server.id
        }
        tally.sampled(
            stranded: names.indices.reduce(0) { $0 + settings.count(of: $1) * stranded(of: $1, lessees: lessees) })
        queue.add(.sample, at: now + .milliseconds(100))
    }

    /// A key's stranded tokens: on record for a stopped server, or held by a running server that has had no request for
    /// the key within a horizon.
    ///
    /// - Parameter lessees: the servers that are up, by lessee ID.
    private func stranded(of key: Int, lessees: [String: Int]) -> Int {
        let node = nodes[partitions[key]]
        let bucket = node.entries[faultInjection.bucket(of: key)]?.bucket
        let time = bucket?.time(atClock: node.clock(at: now).storeMilliseconds) ?? 0
        let records = bucket?.records.filter { $0.value.endsMilliseconds > time } ?? [:]
        return records.reduce(0) { sum, entry in
            let (lesseeID, record) = entry
            guard let id = lessees[lesseeID] else { return sum + record.tokens }
            let server = servers[id]
            guard case .cistern(let limiter) = server.limiter else { return sum + record.tokens }
            if let last = server.lastArrivals[key],
                now - last <= .milliseconds(settings.lease.horizonMilliseconds)
            {
                return sum
            }
            let name = names[key]
            return sum + limiter.outstandingTokens(name.span, now: server.clock.reading(at: now))
        }
    }
}
