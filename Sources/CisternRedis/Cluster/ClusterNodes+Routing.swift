internal import Cistern
internal import NIOCore
internal import Synchronization

/// How a request finds the node that has its slot.
extension ClusterNodes {
    /// One request on its way.
    private struct Journey: Sendable {
        let slot: Int
        let deadline: Instant
        /// Sends the request to a node, and tells where that sends it on to; nil once it has arrived.
        let send: @Sendable (RedisNode, _ isAsking: Bool, @escaping @Sendable (Redirect?) -> Void) -> Void
        /// The request will not arrive.
        let fail: @Sendable (LeaseFailure, Instant) -> Void
        var hops = 0
    }

    /// How often one request may be sent on.
    private static let maximumHops = 64
    /// How long to wait before a node is asked again that could not answer yet.
    private static let pause = TimeAmount.milliseconds(3)

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let keys = KeyNames.bucket(of: request.organization, isTagged: true)
        let journey = Journey(
            slot: Int(request.home.number), deadline: request.deadline,
            send: { [weak self] node, isAsking, redirect in
                // Where a slot's bucket is sent on, none of its keys is left behind, and some may not exist at all. A node
                // that is being given a slot cannot tell those from keys that have not arrived yet, unless it is told one
                // key alone.
                let isWhole = isAsking && self?.asksForWholeBuckets == true
                node.lease(request, keys: isWhole ? [keys[0]] : keys, isAsking: isAsking) { attempt, now in
                    switch attempt {
                    case .redirected(let target): redirect(target)
                    case .finished(let result):
                        redirect(nil)
                        reply(result, now)
                    }
                }
            }, fail: { failure, now in reply(.failure(failure), now) })
        go(journey)
    }

    /// Carries one command about what is in a slot.
    func route(
        _ words: [[UInt8]], at home: BucketHome, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        let deadline = context.clock.now().advanced(byMilliseconds: timeoutMilliseconds)
        let journey = Journey(
            slot: Int(home.number), deadline: deadline,
            send: { node, isAsking, redirect in
                node.command(words, isAsking: isAsking, timeoutMilliseconds: timeoutMilliseconds) { result in
                    if case .success(.error(let message)) = result, let target = Redirect(message) {
                        return redirect(target)
                    }
                    redirect(nil)
                    reply(result)
                }
            }, fail: { failure, _ in reply(.failure(failure)) })
        go(journey)
    }

    func command(
        _ words: [[UInt8]], at home: BucketHome, timeoutMilliseconds: Int64
    ) async -> Result<RESPValue, LeaseFailure> {
        await withCheckedContinuation { continuation in
            route(words, at: home, timeoutMilliseconds: timeoutMilliseconds) { continuation.resume(returning: $0) }
        }
    }

    private var asksForWholeBuckets: Bool { state.withLock { $0.asksForWholeBuckets } }

    private func go(_ journey: Journey) {
        guard let owner = state.withLock({ $0.owners[journey.slot] }) else {
            return journey.fail(.unreachable, context.clock.now())
        }
        go(journey, to: owner, isAsking: false)
    }

    private func go(_ journey: Journey, to node: RedisNode, isAsking: Bool) {
        journey.send(node, isAsking) { [weak self] redirect in
            guard let redirect else { return }
            guard let self else { return journey.fail(.unreachable, journey.deadline) }
            var journey = journey
            journey.hops += 1
            follow(redirect, journey, from: node)
        }
    }

    private func follow(_ redirect: Redirect, _ journey: Journey, from node: RedisNode) {
        guard journey.hops < Self.maximumHops else {
            return journey.fail(.rejected("sent on too often"), context.clock.now())
        }
        switch redirect {
        case .moved(let slot, let address):
            refreshSlots()
            arrive(journey, at: learn(slot, at: address.on(node.endpoint.host)), isAsking: false)
        case .ask(_, let address):
            arrive(journey, at: known(address.on(node.endpoint.host)), isAsking: true)
        case .tryAgain:
            pause(journey) { [weak self] in self?.go(journey) }
        }
    }

    /// Goes on to a node as soon as there is a connection to it.
    private func arrive(_ journey: Journey, at node: RedisNode?, isAsking: Bool) {
        guard let node else { return journey.fail(.unreachable, context.clock.now()) }
        if node.isUp { return go(journey, to: node, isAsking: isAsking) }
        pause(journey) { [weak self] in self?.arrive(journey, at: node, isAsking: isAsking) }
    }

    private func pause(_ journey: Journey, then: @escaping @Sendable () -> Void) {
        let now = context.clock.now()
        guard now.advanced(byMilliseconds: 3) < journey.deadline else { return journey.fail(.timedOut, now) }
        eventLoop.scheduleTask(in: Self.pause) { then() }
    }

    /// Notes that a slot is another node's from now on.
    private func learn(_ slot: Int, at address: NodeAddress) -> RedisNode? {
        var fresh: [RedisNode] = []
        let node = state.withLock { state -> RedisNode? in
            guard let node = member(at: address, in: &state, fresh: &fresh) else { return nil }
            state.owners[slot] = node
            reachability.set(BucketHome(UInt16(slot)), isUp: node.isUp)
            return node
        }
        fresh.forEach { $0.begin() }
        return node
    }

    private func known(_ address: NodeAddress) -> RedisNode? {
        var fresh: [RedisNode] = []
        let node = state.withLock { member(at: address, in: &$0, fresh: &fresh) }
        fresh.forEach { $0.begin() }
        return node
    }
}
