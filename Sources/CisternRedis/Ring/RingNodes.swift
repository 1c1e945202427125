internal import Cistern
internal import Logging
internal import NIOCore
internal import Synchronization

/// Independent nodes on a ring: each organisation's bucket is on one of them.
final class RingNodes: StoreNodes {
    private struct State {
        var ring: Ring
        /// The home that each member of the ring stands for.
        var homes: [BucketHome]
        var nodes: [BucketHome: RedisNode]
        /// Homes by the names of their nodes, of all that there ever were.
        ///
        /// A number is never given to another node: it would pass for the same bucket.
        var numbers: [String: BucketHome]
        /// Nodes that keep nothing any more, but may have leases to take back.
        var leaving: [BucketHome: RedisNode] = [:]
        var isStopped = false
    }

    private let context: StoreContext
    private let reachability = Reachability()
    private let state: Mutex<State>

    init(endpoints: [RedisEndpoint], context: StoreContext) throws {
        self.context = context
        let ring = Ring(endpoints.map { Ring.Member(name: $0.name, weight: $0.weight) })
        let homes = endpoints.indices.map { BucketHome(UInt16($0)) }
        let numbers = Dictionary(uniqueKeysWithValues: zip(endpoints.map(\.name), homes))
        state = Mutex(State(ring: ring, homes: homes, nodes: [:], numbers: numbers))
        for (endpoint, home) in zip(endpoints, homes) {
            let node = makeNode(endpoint, home: home)
            state.withLock { $0.nodes[home] = node }
        }
    }

    /// - Parameter other: another connection to the same node, whose part of all limits goes over to this one.
    private func makeNode(
        _ endpoint: RedisEndpoint, home: BucketHome, inPlaceOf other: RedisNode? = nil
    ) -> RedisNode {
        var role = RedisNode.Role()
        if context.settings.keepsLocalShare { role.share = other?.role.share ?? SharePart(server: context.server) }
        role.changed = { [weak self] node, isUp in self?.note(node, at: home, isUp: isUp) }
        return context.makeNode(endpoint, role: role)
    }

    private func note(_ node: RedisNode, at home: BucketHome, isUp: Bool) {
        // One that another connection to the same node has replaced has no say any more.
        state.withLock { state in
            guard (state.nodes[home] ?? state.leaving[home]) === node else { return }
            reachability.set(home, isUp: isUp)
        }
    }

    // MARK: StoreNodes

    func home(of organization: Span<UInt8>) -> BucketHome {
        state.withLock { $0.homes[$0.ring.owner(of: organization)] }
    }

    func isReachable(_ home: BucketHome) -> Bool {
        reachability.isUp(home)
    }

    func localShare(of home: BucketHome) -> LocalShare? {
        node(at: home)?.role.share?.lease.withLock { $0.localShare }
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        guard let node = node(at: request.home) else { return reply(.failure(.unreachable), context.clock.now()) }
        node.lease(request, keys: KeyNames.Choice(isTagged: false), reply: reply)
    }

    func start() async {
        await state.withLock { Array($0.nodes.values) }.forAll { await $0.start() }
    }

    func stop() async {
        let nodes = state.withLock { state in
            state.isStopped = true
            return Array(state.nodes.values) + Array(state.leaving.values)
        }
        await nodes.forAll { await $0.stop() }
    }

    var reports: [NodeReport] {
        state.withLock { state in
            let members = zip(state.homes, state.ring.shares).compactMap { home, share in
                state.nodes[home].map { node in
                    var report = node.report
                    report.share = share
                    return report
                }
            }
            return members + state.leaving.values.map(\.report).sorted { $0.name < $1.name }
        }
    }

    // MARK: Changing the nodes

    /// Turns to other nodes, or other weights.
    ///
    /// Nodes that stay keep their connections. Returns once each new one has been tried; only then does anything move.
    func change(to endpoints: [RedisEndpoint]) async throws {
        var (numbers, current) = state.withLock { ($0.numbers, $0.nodes.merging($0.leaving) { node, _ in node }) }
        var nodes: [BucketHome: RedisNode] = [:]
        var homes: [BucketHome] = []
        var fresh: [RedisNode] = []
        for endpoint in endpoints {
            let home = numbers[endpoint.name] ?? BucketHome(UInt16(numbers.count))
            guard Int(home.number) < Reachability.homeCount else { throw RedisStore.TooManyNodes() }
            numbers[endpoint.name] = home
            homes.append(home)
            if let node = current[home], node.endpoint.isSameNode(as: endpoint) {
                nodes[home] = node
            } else {
                let node = makeNode(endpoint, home: home, inPlaceOf: current[home])
                nodes[home] = node
                fresh.append(node)
            }
        }
        await fresh.forAll { await $0.start() }
        // A new password that is wrong must not take the place of one that works.
        let failed = nodes.filter { home, node in !node.isUp && current[home]?.isUp == true && current[home] !== node }
        if !failed.isEmpty || state.withLock({ $0.isStopped }) {
            fresh.forEach { $0.end(isReplaced: true) }
            throw RedisStore.UnusableNodes(Array(failed.values))
        }
        let ring = Ring(endpoints.map { Ring.Member(name: $0.name, weight: $0.weight) })
        for (home, node) in nodes { current[home] = current[home] === node ? nil : current[home] }
        // Where a node has another address or password now, the old connection has nothing more to do.
        let replaced = current.filter { nodes[$0.key] != nil }
        let leaving = current.filter { nodes[$0.key] == nil }
        state.withLock { state in
            state = State(ring: ring, homes: homes, nodes: nodes, numbers: numbers, leaving: leaving)
            for (home, node) in nodes { reachability.set(home, isUp: node.isUp) }
        }
        replaced.values.forEach { $0.end(isReplaced: true) }
    }

    /// Closes the connections of nodes that keep nothing any more.
    func dropLeavingNodes() async {
        let leaving = state.withLock { state in
            defer { state.leaving = [:] }
            return Array(state.leaving.values)
        }
        await leaving.forAll { await $0.stop() }
    }

    func members(at home: BucketHome?) -> [RedisNode] {
        state.withLock { state in
            if let home { return [state.nodes[home]].compactMap { $0 } }
            return state.homes.compactMap { state.nodes[$0] }
        }
    }

    func command(
        _ words: [[UInt8]], at home: BucketHome, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        guard let node = node(at: home) else { return reply(.failure(.unreachable)) }
        node.command(words, timeoutMilliseconds: timeoutMilliseconds, reply: reply)
    }

    var overrideHolders: [OverrideCopies.Holder] {
        members(at: nil).filter(\.isUp).map { node in
            OverrideCopies.Holder(name: node.endpoint.name) { await node.command($0, timeoutMilliseconds: 1000) }
        }
    }

    private func node(at home: BucketHome) -> RedisNode? {
        state.withLock { $0.nodes[home] ?? $0.leaving[home] }
    }
}
