internal import Cistern
internal import CisternCluster
internal import CisternSupport

/// Messages between servers and nodes.
extension World {
    // MARK: From a server

    /// Sends a limiter's request to the node that has the key according to the server's routes.
    func send(_ outgoing: Link.Outgoing, from id: Int) {
        var request = outgoing.request
        faultInjection.willSend(&request)
        let key = self.key(request.key)
        let node = servers[id].routes[key]
        let local = servers[id].clock.reading(at: now)
        guard servers[id].health[node].state == .up else {
            outgoing.reply(.failure(.unreachable), local)
            return
        }
        send(
            .lease(request, key: key), to: node, from: id, deadline: request.deadline,
            reply: outgoing.reply)
    }

    /// Sends a message, and schedules its deadline if it has one.
    func send(
        _ content: Message.Content, to node: Int, from id: Int, deadline: Instant? = nil,
        reply: (@Sendable (Result<Grant, LeaseFailure>, Instant) -> Void)? = nil
    ) {
        ticket += 1
        let message = Message(content: content, server: id, incarnation: servers[id].incarnation, ticket: ticket)
        let never = Instant(nanoseconds: .max)
        servers[id].await(
            Server.Pending(message: message, node: node, deadline: deadline ?? never, reply: reply), ticket: ticket)
        if let deadline {
            queue.add(
                .deadline(server: id, incarnation: servers[id].incarnation, ticket: ticket),
                at: max(now, servers[id].clock.time(of: deadline)))
        }
        if let key = content.key { tally.called(for: key) }
        transmit(message, to: node)
    }

    private func transmit(_ message: Message, to node: Int) {
        for time in network.arrivals(server: message.server, node: node, now: now) {
            queue.add(.message(message, node: node), at: time)
        }
    }

    private var leaseMilliseconds: Int64 { settings.lease.durationMilliseconds }

    private func key(_ name: [UInt8]) -> Int {
        guard let key = keys[name] else { preconditionFailure("the request is for an unknown key") }
        return key
    }

    // MARK: At a node

    func receive(_ message: Message, at id: Int) {
        guard nodes[id].isUp else {
            // The node is down: the sender's connection fails after one network delay.
            for time in network.arrivals(server: message.server, node: id, now: now) {
                queue.add(.connectionLost(server: message.server, incarnation: message.incarnation, node: id), at: time)
            }
            return
        }
        if nodes[id].hangsUntil > now {
            nodes[id].backlog.append(message)
            return
        }
        let content = act(on: message, at: id)
        let reply = Reply(
            content: content, node: id, server: message.server, incarnation: message.incarnation, ticket: message.ticket
        )
        for time in network.arrivals(server: message.server, node: id, now: now) {
            queue.add(.reply(reply), at: time)
        }
    }

    private func act(on message: Message, at id: Int) -> Reply.Content {
        switch message.content {
        case .probe:
            nodes[id].knowsScript = true
            return .pong
        case .settle(let key, let tokens):
            var entry = nodes[id].entry(
                key, limit: settings.limit, leaseMilliseconds: leaseMilliseconds, now: now)
            entry.unleasedBucket.refill(settings.limit, nowMilliseconds: nodes[id].clock(at: now).storeMilliseconds)
            entry.unleasedBucket = TokenBucket(
                units: entry.unleasedBucket.units - settings.limit.units(of: tokens),
                asOfMilliseconds: entry.unleasedBucket.asOfMilliseconds)
            nodes[id].entries[key] = entry
            return .settled(balanceUnits: entry.unleasedBucket.units)
        case .script(let request, let key):
            nodes[id].knowsScript = true
            return lease(request, key, server: message.server, at: id)
        case .lease(let request, let key):
            guard nodes[id].knowsScript || settings.faults == .none else { return .scriptUnknown }
            return lease(request, key, server: message.server, at: id)
        }
    }

    private func lease(_ request: LeaseRequest, _ key: Int, server: Int, at id: Int) -> Reply.Content {
        guard partitions[key] == id else { return .moved(to: partitions[key]) }
        let bucketKey = faultInjection.bucket(of: key)
        var entry = nodes[id].entry(bucketKey, limit: settings.limit, leaseMilliseconds: leaseMilliseconds, now: now)
        let before = entry.bucket
        let clock = nodes[id].clock(at: now)
        let grant: Grant?
        if let answer = faultInjection.act(on: &entry.bucket, request, key: key, now: clock) {
            grant = answer
        } else {
            grant = entry.bucket.apply(request, nowMilliseconds: clock.storeMilliseconds)
        }
        nodes[id].entries[bucketKey] = entry
        guard let grant else { return .stale }
        grantCount += 1
        observe(
            .granted(
                Granted(
                    server: server, key: key, request: request, grant: grant, before: before,
                    bucket: entry.bucket, order: grantCount, at: now, storeAt: clock)))
        observeHoldings(of: key, granted: server)
        return .granted(grant, order: grantCount)
    }

    // MARK: Back at the server

    func take(_ reply: Reply) {
        let id = reply.server
        guard isCurrent(id, reply.incarnation), let pending = servers[id].pending(reply.ticket) else { return }
        let local = servers[id].clock.reading(at: now)
        switch reply.content {
        case .pong:
            guard !pending.isDone else { return }
            servers[id].finish(reply.ticket, now: now)
            if servers[id].health[reply.node].succeed() != nil { reachableChanged(id) }
        case .settled(let balance):
            guard case .settle(let key, _) = pending.message.content,
                case .writeBehind(var limiter) = servers[id].limiter
            else { return }
            servers[id].finish(reply.ticket, now: now)
            limiter.settle(key, balanceUnits: balance, now: local)
            servers[id].limiter = .writeBehind(limiter)
        case .granted(var grant, let order):
            if let request = pending.message.content.request {
                faultInjection.willDeliver(&grant, to: request, now: now)
            }
            answer(reply.ticket, of: id, .success(grant), order: order)
        case .stale:
            answer(reply.ticket, of: id, .failure(.rejected("STALE a later request came first")))
        case .scriptUnknown:
            resend(pending, of: id) { .script($0, key: $1) }
        case .moved(let node):
            if let key = pending.message.content.key { servers[id].routes[key] = node }
            reachableChanged(id)
            resend(pending, of: id) { .lease($0, key: $1) }
        }
    }

    /// Passes an answer to the limiter, even if it is late or a duplicate, which the limiter must ignore.
    private func answer(_ ticket: Int, of id: Int, _ result: Result<Grant, LeaseFailure>, order: Int? = nil) {
        guard let pending = servers[id].pending(ticket) else { return }
        servers[id].finish(ticket, now: now)
        if !pending.isDone {
            _ = servers[id].health[pending.node].serve()
            if let order, let key = pending.message.content.key {
                observe(.answered(server: id, key: key, order: order))
            }
        }
        pending.reply?(result, servers[id].clock.reading(at: now))
        drain(id)
    }

    /// Sends a request again, to the current node of its key and with the given content.
    private func resend(
        _ pending: Server.Pending, of id: Int, as content: (LeaseRequest, Int) -> Message.Content
    ) {
        guard !pending.isDone, let request = pending.message.content.request,
            let key = pending.message.content.key
        else { return }
        let old = pending.message
        let node = servers[id].routes[key]
        let message = Message(
            content: content(request, key), server: id, incarnation: old.incarnation, ticket: old.ticket)
        servers[id].await(
            Server.Pending(message: message, node: node, deadline: pending.deadline, reply: pending.reply),
            ticket: old.ticket)
        tally.called(for: key)
        transmit(message, to: node)
    }

    func checkDeadline(_ ticket: Int, of id: Int, incarnation: Int) {
        guard isCurrent(id, incarnation), let pending = servers[id].pending[ticket],
            faultInjection.honorsDeadlines
        else { return }
        let local = servers[id].clock.reading(at: now)
        guard local >= pending.deadline else {
            // The server's clock has slowed down since the deadline was scheduled.
            queue.add(
                .deadline(server: id, incarnation: incarnation, ticket: ticket),
                at: max(now + 1, servers[id].clock.time(of: pending.deadline)))
            return
        }
        nodeFailed(pending.node, at: id, .timedOut)
    }

    // MARK: Health

    /// Marks a node as failed at a server, which sends it no requests until a probe succeeds.
    func nodeFailed(_ node: Int, at id: Int, _ failure: LeaseFailure) {
        let action = servers[id].health[node].fail("\(failure)", jitter: probeRandom.fraction())
        reachableChanged(id)
        if let action, faultInjection.probes {
            queue.add(
                .probe(server: id, incarnation: servers[id].incarnation, node: node),
                at: now + .milliseconds(action.retryAfterMilliseconds))
        }
        let local = servers[id].clock.reading(at: now)
        for ticket in servers[id].pending.keys.sorted() {
            guard let pending = servers[id].pending[ticket], pending.node == node else { continue }
            servers[id].finish(ticket, now: now)
            pending.reply?(.failure(failure), local)
        }
        drain(id)
    }

    func probe(_ node: Int, from id: Int, incarnation: Int) {
        guard isCurrent(id, incarnation), servers[id].health[node].probe() else { return }
        let deadline = servers[id].clock.reading(at: now)
            .advanced(byMilliseconds: settings.limiter.lease.timeoutMilliseconds)
        send(.probe, to: node, from: id, deadline: deadline)
    }

    private func reachableChanged(_ id: Int) {
        let unreachable = names.indices.filter { servers[id].health[servers[id].routes[$0]].state != .up }
        servers[id].link.setUnreachable(unreachable.map { names[$0] })
    }
}

extension Message.Content {
    var request: LeaseRequest? {
        switch self {
        case .lease(let request, _), .script(let request, _): request
        case .settle, .probe: nil
        }
    }

    var key: Int? {
        switch self {
        case .lease(_, let key), .script(_, let key), .settle(let key, _): key
        case .probe: nil
        }
    }
}
