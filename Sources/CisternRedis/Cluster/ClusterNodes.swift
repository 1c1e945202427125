internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// The nodes of a Redis Cluster; the buckets of a slot are on the node that owns it, which may change at any time.
///
/// A bucket's partition is its slot, which never changes: the bucket moves with the slot. The owners of slots are read
/// from the cluster, updated by redirections, and read again after any problem: see `ClusterNodes+Slots.swift`. For
/// routing see `ClusterNodes+Routing.swift`.
final class ClusterNodes: StoreNodes {
    struct State {
        /// Where to ask for the slot map if no other node replies.
        var seeds: [RedisEndpoint]
        /// All nodes with a connection.
        var nodes: [NodeAddress: RedisNode] = [:]
        /// The owner of each slot; nil if unknown.
        var owners = [RedisNode?](repeating: nil, count: HashSlot.count)
        /// The addresses of the replicas, which may take over from a failed primary.
        var replicas: Set<NodeAddress> = []
        /// When requests were last redirected to each node.
        ///
        /// Recent targets stay connected, because a node that imports its first slot is not in the slot map yet.
        var redirectTargets: [NodeAddress: Instant] = [:]
        /// The Redis keys found so far for write probes.
        var probeKeys: [NodeAddress: [UInt8]] = [:]
        /// Whether a slot map has ever been received.
        var hasSlots = false
        var refresh = Refresh()
        /// This server's local fraction at the time each node was lost, by the node's address.
        var lostFractions: [NodeAddress: LocalFraction] = [:]
        var fractionLog = LogThrottle()
        /// Throttles log lines about requests that are redirected without end.
        var routingLog = LogThrottle()
        /// The IDs of the cluster's nodes, once known.
        var identifiers: Set<String> = []
        var isStopped = false
    }

    let context: StoreContext
    let reachability = Reachability()
    /// This server's local fraction of all limits.
    ///
    /// The owner of one slot (``fractionPartition``) grants it for the whole cluster.
    private let fraction: NodeFraction
    let state: Mutex<State>
    /// The event loop for periodic tasks and delays.
    let eventLoop: any EventLoop
    private let ticks = Mutex<[RepeatedTask]>([])

    init(seeds: [RedisEndpoint], context: StoreContext) throws {
        self.context = context
        eventLoop = context.eventLoopGroup.next()
        fraction = NodeFraction(context)
        state = Mutex(State(seeds: seeds))
        for seed in seeds {
            let node = makeNode(seed)
            state.withLock { $0.nodes[seed.address] = node }
        }
    }

    func makeNode(_ endpoint: RedisEndpoint, startsSlowly: Bool = false) -> RedisNode {
        let address = endpoint.address
        var role = RedisNode.Role(probeKey: { [weak self] in self?.probeKey(for: address) })
        role.isClustered = true
        role.startsSlowly = startsSlowly
        role.belongs = { [weak self] map in self?.belongs(map) ?? true }
        role.changed = { [weak self] node, isUp in self?.note(node, isUp: isUp) }
        return context.makeNode(endpoint, role: role)
    }

    /// Whether a slot map belongs to the known cluster: another cluster may have taken over a lost node's address.
    func belongs(_ map: SlotMap) -> Bool {
        let known = state.withLock { $0.identifiers }
        return known.isEmpty || map.identifiers.isEmpty || !known.isDisjoint(with: map.identifiers)
    }

    /// A Redis key that never exists, in a slot that the node at an address owns; nil if it owns none.
    private func probeKey(for address: NodeAddress) -> [UInt8]? {
        state.withLock { state in
            guard let node = state.nodes[address] else { return nil }
            if let key = state.probeKeys[address], state.owners[HashSlot.of(key)] === node { return key }
            guard state.owners.contains(where: { $0 === node }) else { return nil }
            let key = (0..<100_000).lazy
                .map { self.context.names.probe(number: $0) }
                .first { state.owners[HashSlot.of($0)] === node }
            state.probeKeys[address] = key
            return key
        }
    }

    /// Handles a node that has come into use or has been lost.
    private func note(_ node: RedisNode, isUp: Bool) {
        let now = context.clock.now()
        state.withLock { state in
            for slot in 0..<HashSlot.count where state.owners[slot] === node {
                reachability.set(PartitionID(UInt16(slot)), isUp: isUp)
            }
            let address = node.endpoint.address
            if isUp {
                state.lostFractions[address] = nil
            } else {
                let millionths = fraction.lease.withLock { $0.held(now: now) }
                state.lostFractions[address] = millionths > 0 ? LocalFraction(millionths: millionths, lostAt: now) : nil
                if state.owners[Int(fractionPartition.number)] === node {
                    fraction.lease.withLock { $0.markNodeLost(now: now) }
                }
            }
        }
        if !isUp { refreshSlots() }
    }

    // MARK: StoreNodes

    func partition(of key: Span<UInt8>) -> PartitionID {
        PartitionID(UInt16(HashSlot.ofBucket(key)))
    }

    func isReachable(_ partition: PartitionID) -> Bool {
        reachability.isUp(partition)
    }

    func localFraction(of partition: PartitionID) -> LocalFraction? {
        state.withLock { state in
            guard let owner = state.owners[Int(partition.number)], !owner.isUp else { return nil }
            return state.lostFractions[owner.endpoint.address]
        }
    }

    func start() async {
        await members(at: nil).forAll { await $0.start() }
        await withCheckedContinuation { continuation in
            refreshSlots { continuation.resume() }
        }
        await renewFraction()
        let jitter = TimeAmount.milliseconds(Int64.random(in: 0..<250))
        let watch = eventLoop.scheduleRepeatedTask(initialDelay: jitter, delay: .milliseconds(250)) { [weak self] _ in
            self?.refreshSlotsIfDue()
        }
        let interval = TimeAmount.milliseconds(FractionLease.renewalMilliseconds)
        let renewal = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in
            guard let self, context.keepsLocalFraction else { return }
            sendFractionRequest {}
        }
        ticks.withLock { $0 = [watch, renewal] }
    }

    func stop() async {
        ticks.withLock { $0.forEach { $0.cancel() } }
        if context.keepsLocalFraction {
            // A hanging node must not delay the server's stop; the fraction expires there by itself.
            _ = await command(
                fraction.request(now: context.clock.now(), isLeaving: true), at: fractionPartition,
                timeoutMilliseconds: context.settings.connectTimeoutMilliseconds / 4)
        }
        let nodes = state.withLock { state in
            state.isStopped = true
            return Array(state.nodes.values)
        }
        await nodes.forAll { await $0.stop() }
    }

    func change(to seeds: [RedisEndpoint]) async throws {
        let (entry, addresses) = state.withLock { ($0.seeds[0], Array($0.nodes.keys)) }
        // If no seed stays the same, the new ones may belong to another cluster.
        let isOtherCluster = state.withLock { state in
            let isOtherCluster = Set(seeds.map(\.address)).isDisjoint(with: state.seeds.map(\.address))
            if isOtherCluster { state.identifiers = [] }
            return isOtherCluster
        }
        guard seeds[0].hasSameCredentials(entry) else {
            return try await reconnect(seeds, isOtherCluster: isOtherCluster, addresses: addresses)
        }
        var fresh: [RedisNode] = []
        state.withLock { state in
            if isOtherCluster { state.identifiers = [] }
            state.seeds = seeds
            for seed in seeds { _ = member(at: seed.address, in: &state, fresh: &fresh) }
        }
        await fresh.forAll { await $0.start() }
        refreshSlots()
    }

    /// Reconnects to every node, using the seeds' new user, password or encryption.
    ///
    /// Switches to the new connections once each has been tried.
    ///
    /// - Throws: `RedisStore.UnusableNodes` if an old connection is usable but every new one has failed.
    private func reconnect(
        _ seeds: [RedisEndpoint], isOtherCluster: Bool, addresses: [NodeAddress]
    ) async throws {
        var nodes: [NodeAddress: RedisNode] = [:]
        for address in Set(addresses + seeds.map(\.address)) {
            nodes[address] = makeNode(RedisEndpoint(seeds[0], at: address))
        }
        let fresh = Array(nodes.values)
        await fresh.forAll { await $0.start() }
        let isInUse = state.withLock { $0.nodes.values.contains(where: \.isUp) }
        let isStopped = state.withLock { $0.isStopped }
        if isStopped || isInUse && !fresh.contains(where: \.isUp) {
            fresh.forEach { $0.end(isReplaced: true) }
            throw RedisStore.UnusableNodes(fresh)
        }
        let old = state.withLock { state in
            let old = state.nodes
            state.owners = state.owners.map { $0.flatMap { nodes[$0.endpoint.address] } }
            state.nodes = nodes
            state.seeds = seeds
            if isOtherCluster { state.identifiers = [] }
            setReachability(state)
            return Array(old.values)
        }
        old.forEach { $0.end(isReplaced: true) }
        refreshSlots()
    }

    func dropLeavingNodes() async {}

    var reports: [NodeReport] {
        let (nodes, owners) = state.withLock { (Array($0.nodes.values), $0.owners) }
        var slots: [ObjectIdentifier: [Int]] = [:]
        for (slot, owner) in owners.enumerated() {
            if let owner { slots[ObjectIdentifier(owner), default: []].append(slot) }
        }
        let reports = nodes.map { node in
            var report = node.report
            report.slots = (slots[ObjectIdentifier(node)] ?? []).ranges
            report.share = Double(report.slots.reduce(0) { $0 + $1.count }) / Double(HashSlot.count)
            return report
        }.sorted { $0.name < $1.name }
        // Once the slot map is known, a node without slots is only a seed under another name.
        let owning = reports.filter { !$0.slots.isEmpty }
        return owning.isEmpty ? reports : owning
    }

    func members(at partition: PartitionID?) -> [RedisNode] {
        let (nodes, owners) = state.withLock { (Array($0.nodes.values), $0.owners) }
        if let partition { return [owners[Int(partition.number)]].compactMap { $0 } }
        let owning = Set(owners.compactMap { $0.map(ObjectIdentifier.init) })
        return (owning.isEmpty ? nodes : nodes.filter { owning.contains(ObjectIdentifier($0)) })
            .sorted { $0.endpoint.name < $1.endpoint.name }
    }

    // MARK: Local fraction

    private var fractionPartition: PartitionID { PartitionID(UInt16(HashSlot.of(context.names.servers))) }

    private func renewFraction() async {
        guard context.keepsLocalFraction else { return }
        await withCheckedContinuation { continuation in
            sendFractionRequest { continuation.resume() }
        }
    }

    private func sendFractionRequest(whenDone: @escaping @Sendable () -> Void) {
        let sentAt = context.clock.now()
        let drift = context.clockDriftPerMille
        command(
            fraction.request(now: sentAt), at: fractionPartition,
            timeoutMilliseconds: context.settings.connectTimeoutMilliseconds
        ) { [weak self] result in
            if case .success(.error(let message)) = result {
                self?.logFractionFailure(message)
            } else if case .success(let reply) = result, let self,
                fraction.take(reply, sentAt: sentAt, clockDriftPerMille: drift)
            {
                fraction.lease.withLock { $0.markNodeRecovered() }
            }
            whenDone()
        }
    }

    private func logFractionFailure(_ message: String) {
        let now = context.clock.now()
        guard let suppressed = state.withLock({ $0.fractionLog.permit(now: now) }) else { return }
        context.logger.error(
            "Redis did not grant this server's local fraction of the limits",
            metadata: ["reason": "\(message)", "suppressed": "\(suppressed)"])
    }
}

extension [Int] {
    /// Ascending numbers as contiguous ranges.
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
