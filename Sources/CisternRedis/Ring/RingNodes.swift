internal import Cistern
internal import CisternCluster
internal import Logging
internal import NIOCore
internal import Synchronization

/// Independent nodes on a consistent-hash ring; each bucket is on one of them.
final class RingNodes: StoreNodes {
    private struct State {
        var ring: Ring
        /// The partition of each ring member.
        var partitions: [PartitionID]
        var nodes: [PartitionID: RedisNode]
        /// The partitions of all nodes that were ever used, by node name.
        ///
        /// A partition ID is never reused, because the new node's buckets would be mistaken for the old node's buckets.
        var partitionsByName: [String: PartitionID]
        /// Nodes that no longer store buckets, but to which leases may still be returned.
        var leaving: [PartitionID: RedisNode] = [:]
        var isStopped = false
    }

    private let context: StoreContext
    private let reachability = Reachability()
    private let state: Mutex<State>

    init(endpoints: [RedisEndpoint], context: StoreContext) throws {
        self.context = context
        let ring = Ring(endpoints.map { Ring.Member(name: $0.name, weight: $0.weight) })
        let partitions = endpoints.indices.map { PartitionID(UInt16($0)) }
        let partitionsByName = Dictionary(uniqueKeysWithValues: zip(endpoints.map(\.name), partitions))
        state = Mutex(State(ring: ring, partitions: partitions, nodes: [:], partitionsByName: partitionsByName))
        for (endpoint, partition) in zip(endpoints, partitions) {
            let node = makeNode(endpoint, partition: partition)
            state.withLock { $0.nodes[partition] = node }
        }
    }

    /// - Parameter other: another connection to the same node, whose local fraction this one takes over.
    private func makeNode(
        _ endpoint: RedisEndpoint, partition: PartitionID, inPlaceOf other: RedisNode? = nil
    ) -> RedisNode {
        var role = RedisNode.Role(probeKey: { [probe = context.names.probe] in probe })
        if context.keepsLocalFraction {
            role.fraction = other?.role.fraction ?? NodeFraction(context)
        }
        role.changed = { [weak self] node, isUp in self?.note(node, at: partition, isUp: isUp) }
        return context.makeNode(endpoint, role: role)
    }

    private func note(_ node: RedisNode, at partition: PartitionID, isUp: Bool) {
        // A node object that another connection has replaced must not change reachability.
        state.withLock { state in
            guard (state.nodes[partition] ?? state.leaving[partition]) === node else { return }
            reachability.set(partition, isUp: isUp)
        }
    }

    // MARK: StoreNodes

    func partition(of key: Span<UInt8>) -> PartitionID {
        state.withLock { $0.partitions[$0.ring.owner(of: key)] }
    }

    func isReachable(_ partition: PartitionID) -> Bool {
        reachability.isUp(partition)
    }

    func localFraction(of partition: PartitionID) -> LocalFraction? {
        node(at: partition)?.role.fraction?.lease.withLock { $0.localFraction }
    }

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        guard let node = node(at: request.partition) else { return reply(.failure(.unreachable), context.clock.now()) }
        node.lease(request, keyCount: 3, reply: reply)
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
            let members = zip(state.partitions, state.ring.shares).compactMap { partition, share in
                state.nodes[partition].map { node in
                    var report = node.report
                    report.share = share
                    return report
                }
            }
            return members + state.leaving.values.map(\.report).sorted { $0.name < $1.name }
        }
    }

    // MARK: Changing the nodes

    /// Switches to other nodes or weights.
    ///
    /// Nodes that stay keep their connections. Buckets move only after each new node has been tried; then this returns.
    func change(to endpoints: [RedisEndpoint]) async throws {
        var (partitionsByName, current) = state.withLock {
            ($0.partitionsByName, $0.nodes.merging($0.leaving) { node, _ in node })
        }
        var nodes: [PartitionID: RedisNode] = [:]
        var partitions: [PartitionID] = []
        var fresh: [RedisNode] = []
        for endpoint in endpoints {
            let partition = partitionsByName[endpoint.name] ?? PartitionID(UInt16(partitionsByName.count))
            guard Int(partition.number) < Reachability.partitionCount else { throw RedisStore.TooManyNodes() }
            partitionsByName[endpoint.name] = partition
            partitions.append(partition)
            if let node = current[partition], node.endpoint.isSameNode(as: endpoint) {
                nodes[partition] = node
            } else {
                let node = makeNode(endpoint, partition: partition, inPlaceOf: current[partition])
                nodes[partition] = node
                fresh.append(node)
            }
        }
        await fresh.forAll { await $0.start() }
        // A wrong new password must not replace one that works.
        let failed = nodes.filter { partition, node in
            !node.isUp && current[partition]?.isUp == true && current[partition] !== node
        }
        if !failed.isEmpty || state.withLock({ $0.isStopped }) {
            fresh.forEach { $0.end(isReplaced: true) }
            throw RedisStore.UnusableNodes(Array(failed.values))
        }
        let ring = Ring(endpoints.map { Ring.Member(name: $0.name, weight: $0.weight) })
        for (partition, node) in nodes { current[partition] = current[partition] === node ? nil : current[partition] }
        // If a node's address or password has changed, its old connection is not needed any more.
        let replaced = current.filter { nodes[$0.key] != nil }
        let leaving = current.filter { nodes[$0.key] == nil }
        state.withLock { state in
            state = State(
                ring: ring, partitions: partitions, nodes: nodes, partitionsByName: partitionsByName, leaving: leaving)
            for (partition, node) in nodes { reachability.set(partition, isUp: node.isUp) }
        }
        replaced.values.forEach { $0.end(isReplaced: true) }
    }

    /// Closes the connections to nodes that no longer store any bucket.
    func dropLeavingNodes() async {
        let leaving = state.withLock { state in
            defer { state.leaving = [:] }
            return Array(state.leaving.values)
        }
        await leaving.forAll { await $0.stop() }
    }

    func members(at partition: PartitionID?) -> [RedisNode] {
        state.withLock { state in
            if let partition { return [state.nodes[partition]].compactMap { $0 } }
            return state.partitions.compactMap { state.nodes[$0] }
        }
    }

    func command(
        _ words: [[UInt8]], at partition: PartitionID, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        guard let node = node(at: partition) else { return reply(.failure(.unreachable)) }
        node.command(words, timeoutMilliseconds: timeoutMilliseconds, reply: reply)
    }

    var overrideHolders: [OverrideCopies.Holder] {
        members(at: nil).filter(\.isUp).map { node in
            OverrideCopies.Holder(name: node.endpoint.name) { await node.command($0, timeoutMilliseconds: 1000) }
        }
    }

    private func node(at partition: PartitionID) -> RedisNode? {
        state.withLock { $0.nodes[partition] ?? $0.leaving[partition] }
    }
}
