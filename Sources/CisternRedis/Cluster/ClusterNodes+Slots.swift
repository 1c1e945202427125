internal import Cistern
internal import Logging
internal import NIOCore
internal import Synchronization

/// Fetches the slot map from the cluster's nodes.
extension ClusterNodes {
    /// The state of slot map refreshes.
    struct Refresh {
        var isUnderWay = false
        /// Whether another refresh was requested during the current one.
        var isDue = false
        var waiting: [@Sendable () -> Void] = []
        var lastAt = Instant(nanoseconds: 0)
    }

    /// The maximum age of the slot map while every slot is reachable.
    private static let longestMilliseconds: Int64 = 15_000
    /// How long one node may take to reply.
    private static let timeoutMilliseconds: Int64 = 500
    /// How long a node without slots may still answer pending requests.
    private static let removalDelay = TimeAmount.milliseconds(1000)

    /// Refreshes the slot map if a slot is unreachable or the map is old.
    func refreshSlotsIfDue() {
        let now = context.clock.now()
        let lastAt = state.withLock { $0.refresh.lastAt }
        guard !reachability.areAllUp || now.milliseconds - lastAt.milliseconds >= Self.longestMilliseconds else {
            return
        }
        refreshSlots()
    }

    /// Refreshes the slot map; any thread may call it, as often as necessary.
    ///
    /// - Parameter whenDone: called once a new map is in use and its nodes have been tried, or if no node replied.
    func refreshSlots(whenDone: (@Sendable () -> Void)? = nil) {
        var fresh: [RedisNode] = []
        let nodes: [RedisNode]? = state.withLock { state in
            if let whenDone { state.refresh.waiting.append(whenDone) }
            // After `stop` nothing is fetched, but waiting callers must still be resumed.
            guard !state.isStopped else { return state.refresh.isUnderWay ? nil : [] }
            guard !state.refresh.isUnderWay else {
                state.refresh.isDue = true
                return nil
            }
            state.refresh.isUnderWay = true
            state.refresh.isDue = false
            var nodes = state.nodes.values.filter(\.isUp)
            if state.identifiers.isEmpty {
                // Until the cluster is known, the seeds determine which cluster is meant.
                let seeds = nodes.filter { node in state.seeds.contains { $0.address == node.endpoint.address } }
                if !seeds.isEmpty { nodes = seeds }
            }
            if nodes.isEmpty {
                // Connect to the last known replicas and the seeds for the next refresh.
                for address in state.replicas.union(state.seeds.map(\.address)) {
                    _ = member(at: address, in: &state, fresh: &fresh)
                }
            }
            return nodes
        }
        fresh.forEach { $0.begin() }
        // In random order, because a node that is cut off from the cluster keeps reporting an outdated slot map.
        if let nodes { askForSlots(nodes.shuffled()[...]) }
    }

    private func askForSlots(_ nodes: ArraySlice<RedisNode>) {
        guard let node = nodes.first else { return finishRefresh() }
        let command = ["CLUSTER", "SLOTS"].map { Array($0.utf8) }
        node.command(command, timeoutMilliseconds: Self.timeoutMilliseconds) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let reply):
                if let map = SlotMap(reply, from: node.endpoint.host), !map.ranges.isEmpty {
                    if belongs(map) { return take(map) }
                    node.takeOutOfUse(.otherCluster)
                }
                if case .error(let message) = reply {
                    let isAlone = message.contains("cluster support disabled")
                    node.takeOutOfUse(
                        isAlone
                            ? NodeFailure(.notACluster, message)
                            : NodeFailure(reply: message) ?? NodeFailure(.error, message))
                }
            case .failure: break
            }
            askForSlots(nodes.dropFirst())
        }
    }

    /// Applies a new slot map: connects to new nodes, and drops nodes that own no slots any more.
    private func take(_ map: SlotMap) {
        var fresh: [RedisNode] = []
        var removedNodes: [RedisNode] = []
        let now = context.clock.now()
        state.withLock { state in
            guard !state.isStopped else { return }
            var owners = [RedisNode?](repeating: nil, count: HashSlot.count)
            for range in map.ranges {
                guard let node = member(at: range.primary, in: &state, fresh: &fresh) else { continue }
                for slot in range.slots { owners[slot] = node }
            }
            state.owners = owners
            state.hasSlots = true
            state.replicas = map.replicas
            state.identifiers = map.identifiers
            state.refresh.lastAt = now
            let primaries = Set(map.ranges.map(\.primary))
            let longAgo = now.advanced(byMilliseconds: -Self.longestMilliseconds)
            state.redirectTargets = state.redirectTargets.filter { $0.value > longAgo }
            let kept = Set(state.seeds.map(\.address)).union(state.redirectTargets.keys)
            for (address, node) in state.nodes where !primaries.contains(address) && !kept.contains(address) {
                state.nodes[address] = nil
                state.probeKeys[address] = nil
                state.lostFractions[address] = nil
                removedNodes.append(node)
            }
            setReachability(state)
        }
        if !removedNodes.isEmpty {
            let removedNodes = removedNodes
            eventLoop.scheduleTask(in: Self.removalDelay) { removedNodes.forEach { $0.end() } }
        }
        begin(fresh)
    }

    /// The node at an address, created if necessary; nil once the store is stopped.
    func member(at address: NodeAddress, in state: inout State, fresh: inout [RedisNode]) -> RedisNode? {
        if let node = state.nodes[address] { return node }
        guard !state.isStopped else { return nil }
        let endpoint = RedisEndpoint(state.seeds[0], at: address)
        // If the node takes over unreachable slots, requests for all their keys arrive at once.
        let node = makeNode(endpoint, startsSlowly: state.hasSlots)
        state.nodes[address] = node
        fresh.append(node)
        return node
    }

    func setReachability(_ state: borrowing State) {
        for slot in 0..<HashSlot.count {
            reachability.set(PartitionID(UInt16(slot)), isUp: state.owners[slot]?.isUp == true)
        }
    }

    private func begin(_ nodes: [RedisNode]) {
        let promises = nodes.map { node in
            let promise = eventLoop.makePromise(of: Void.self)
            node.begin { promise.succeed() }
            return promise.futureResult
        }
        EventLoopFuture.andAllComplete(promises, on: eventLoop).whenComplete { _ in self.finishRefresh() }
    }

    private func finishRefresh() {
        let (waiting, isDue) = state.withLock { state in
            defer { state.refresh.waiting = [] }
            state.refresh.isUnderWay = false
            return (state.refresh.waiting, state.refresh.isDue && !state.isStopped)
        }
        for resume in waiting { resume() }
        guard isDue else { return }
        eventLoop.scheduleTask(in: .milliseconds(Int64.random(in: 20...100))) { [weak self] in self?.refreshSlots() }
    }
}
