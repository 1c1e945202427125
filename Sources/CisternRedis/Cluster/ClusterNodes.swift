internal import Cistern
internal import Logging
internal import NIOCore
internal import Synchronization

/// The nodes of a Redis Cluster: each slot's buckets are on one of them, which may change at any time.
///
/// A bucket's home is its slot, which is the same for ever; the bucket moves with the slot. Which node has a slot is
/// asked for, learned from redirections, and asked for again when anything is amiss: see `ClusterNodes+Slots.swift`. How a
/// request finds its way is in `ClusterNodes+Routing.swift`.
final class ClusterNodes: StoreNodes {
    struct State {
        /// Where to ask for the slots when no node is known that answers.
        var seeds: [RedisEndpoint]
        /// All nodes that there are connections to.
        var nodes: [NodeAddress: RedisNode] = [:]
        /// The node of each slot; nil where nobody has said.
        var owners = [RedisNode?](repeating: nil, count: HashSlot.count)
        /// Where the replicas are, which take over where a primary is lost.
        var replicas: Set<NodeAddress> = []
        /// Keys with which nodes are tried, as found so far.
        var probeKeys: [NodeAddress: [UInt8]] = [:]
        /// Whether the slots have ever been told.
        var hasSlots = false
        var asksForWholeBuckets = false
        var refresh = Refresh()
        var share = ShareLease()
        var isStopped = false
    }

    let context: StoreContext
    let reachability = Reachability()
    let state: Mutex<State>
    /// One event loop for the clock's ticks.
    let eventLoop: any EventLoop
    private let ticks = Mutex<[RepeatedTask]>([])

    init(seeds: [RedisEndpoint], context: StoreContext) throws {
        self.context = context
        eventLoop = context.eventLoopGroup.next()
        state = Mutex(State(seeds: seeds))
        for seed in seeds {
            let node = try makeNode(seed)
            state.withLock { $0.nodes[NodeAddress(host: seed.host, port: seed.port)] = node }
        }
    }

    func makeNode(_ endpoint: RedisEndpoint, startsSlowly: Bool = false) throws -> RedisNode {
        let address = NodeAddress(host: endpoint.host, port: endpoint.port)
        var role = RedisNode.Role()
        role.isClustered = true
        role.startsSlowly = startsSlowly
        role.probeKey = { [weak self] in self?.probeKey(for: address) }
        role.changed = { [weak self] node, isUp in self?.note(node, isUp: isUp) }
        return try context.makeNode(endpoint, role: role)
    }

    /// A key that never exists, in a slot of the node at an address; nil where it has none.
    private func probeKey(for address: NodeAddress) -> [UInt8]? {
        state.withLock { state in
            guard let node = state.nodes[address] else { return nil }
            if let key = state.probeKeys[address], state.owners[HashSlot.of(key)] === node { return key }
            guard state.owners.contains(where: { $0 === node }) else { return nil }
            let key = (0..<100_000).lazy
                .map { KeyNames.key(of: Array("\($0)".utf8), "probe", isTagged: true) }
                .first { state.owners[HashSlot.of($0)] === node }
            state.probeKeys[address] = key
            return key
        }
    }

    /// A node has come into use, or has been lost.
    private func note(_ node: RedisNode, isUp: Bool) {
        let now = context.clock.now()
        state.withLock { state in
            for slot in 0..<HashSlot.count where state.owners[slot] === node {
                reachability.set(BucketHome(UInt16(slot)), isUp: isUp)
            }
            if !isUp, state.owners[HashSlot.of(KeyNames.servers)] === node { state.share.lose(now: now) }
        }
        if !isUp { refreshSlots() }
    }

    // MARK: StoreNodes

    func home(of organization: Span<UInt8>) -> BucketHome {
        BucketHome(UInt16(HashSlot.ofBucket(organization)))
    }

    func isReachable(_ home: BucketHome) -> Bool {
        reachability.isUp(home)
    }

    func localShare(of home: BucketHome) -> LocalShare? {
        let now = context.clock.now()
        return state.withLock { state in
            let millionths = state.share.current(now: now)
            guard millionths > 0, let owner = state.owners[Int(home.number)] else { return nil }
            return LocalShare(millionths: millionths, lostAt: owner.shared.withLock { $0.lostAt })
        }
    }

    func start() async {
        await members(at: nil).forAll { await $0.start() }
        await withCheckedContinuation { continuation in
            refreshSlots { continuation.resume() }
        }
        await renewShare()
        let jitter = TimeAmount.milliseconds(Int64.random(in: 0..<250))
        let watch = eventLoop.scheduleRepeatedTask(initialDelay: jitter, delay: .milliseconds(250)) { [weak self] _ in
            self?.refreshSlotsIfDue()
        }
        let interval = TimeAmount.milliseconds(ShareLease.renewalMilliseconds)
        let renewal = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
            guard let self, context.settings.keepsLocalShare else { return }
            sendShareRequest {}
        }
        ticks.withLock { $0 = [watch, renewal] }
    }

    func stop() async {
        ticks.withLock { $0.forEach { $0.cancel() } }
        if context.settings.keepsLocalShare {
            let leaving = ShareScript.command(server: context.server, held: 0, isLeaving: true)
            _ = await command(
                leaving, at: Self.registry, timeoutMilliseconds: context.settings.connectTimeoutMilliseconds)
        }
        let nodes = state.withLock { state in
            state.isStopped = true
            return Array(state.nodes.values)
        }
        await nodes.forAll { await $0.stop() }
    }

    func change(to seeds: [RedisEndpoint]) async throws {
        let (entry, addresses) = state.withLock { ($0.seeds[0], Array($0.nodes.keys)) }
        guard seeds[0].entersLike(entry) else { return try await enterAnew(seeds, addresses: addresses) }
        state.withLock { $0.seeds = seeds }
        refreshSlots()
    }

    /// Makes every connection anew, with another user, password or encryption, and goes over to them once each is tried.
    private func enterAnew(_ seeds: [RedisEndpoint], addresses: [NodeAddress]) async throws {
        var nodes: [NodeAddress: RedisNode] = [:]
        for address in addresses { nodes[address] = try makeNode(RedisEndpoint(seeds[0], at: address)) }
        await Array(nodes.values).forAll { await $0.start() }
        let old = state.withLock { state in
            let old = state.nodes
            for slot in 0..<HashSlot.count {
                let address = old.first { $0.value === state.owners[slot] }?.key
                state.owners[slot] = address.flatMap { nodes[$0] }
                reachability.set(BucketHome(UInt16(slot)), isUp: state.owners[slot]?.isUp == true)
            }
            state.nodes = nodes
            state.seeds = seeds
            return Array(old.values)
        }
        await old.forAll { await $0.stop() }
        refreshSlots()
    }

    func dropLeavingNodes() async {}

    var reports: [NodeReport] {
        let (nodes, owners) = state.withLock { (Array($0.nodes.values), $0.owners) }
        let reports = nodes.map { node in
            var report = node.report
            report.slots = owners.indices.filter { owners[$0] === node }.ranges
            report.share = Double(report.slots.reduce(0) { $0 + $1.count }) / Double(HashSlot.count)
            return report
        }.sorted { $0.name < $1.name }
        // Once the slots are known, what has none is a seed under another name and of no account.
        let owning = reports.filter { !$0.slots.isEmpty }
        return owning.isEmpty ? reports : owning
    }

    func members(at home: BucketHome?) -> [RedisNode] {
        state.withLock { state in
            if let home { return [state.owners[Int(home.number)]].compactMap { $0 } }
            let owning = state.nodes.values.filter { node in state.owners.contains { $0 === node } }
            return (owning.isEmpty ? Array(state.nodes.values) : owning)
                .sorted { $0.endpoint.name < $1.endpoint.name }
        }
    }

    // MARK: The part of all limits

    private static let registry = BucketHome(UInt16(HashSlot.of(KeyNames.servers)))

    private func renewShare() async {
        guard context.settings.keepsLocalShare else { return }
        await withCheckedContinuation { continuation in
            sendShareRequest { continuation.resume() }
        }
    }

    private func sendShareRequest(whenDone: @escaping @Sendable () -> Void) {
        let sentAt = context.clock.now()
        let held = state.withLock { $0.share.held(now: sentAt) }
        let request = ShareScript.command(server: context.server, held: held)
        let drift = context.settings.clockDriftPerMille
        route(
            request, at: Self.registry, timeoutMilliseconds: context.settings.connectTimeoutMilliseconds
        ) { [weak self] result in
            if case .success(let reply) = result, let share = ShareScript.share(in: reply) {
                self?.state.withLock { state in
                    state.share.grant(share.millionths, sentAt: sentAt, clockDriftPerMille: drift)
                    state.share.regain()
                }
            }
            whenDone()
        }
    }
}

extension [Int] {
    /// Ascending numbers as ranges without gaps.
    var ranges: [ClosedRange<Int>] {
        reduce(into: []) { ranges, number in
            if let last = ranges.last, last.upperBound + 1 == number {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
    }
}
