internal import Cistern
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// Routes commands to the node that owns their slot, and follows redirections.
extension ClusterNodes {
    /// A command in progress.
    private struct RoutedCommand: Sendable {
        let slot: Int
        let deadline: Instant
        /// Sends the command to a node; calls back with the node's redirection, or with nil if it sent none.
        let send: @Sendable (RedisNode, Entry, @escaping @Sendable (Redirect?) -> Void) -> Void
        /// Called if the command cannot be routed.
        let fail: @Sendable (LeaseFailure, Instant) -> Void
        var hops = 0
    }

    /// Why a command is sent to a node.
    private enum Entry: Sendable {
        /// The node owns the slot.
        case owner
        /// The owner sent `ASK`, and may still have some of the bucket's Redis keys.
        case asking
        /// The owner sent `ASK`, and has none of the bucket's Redis keys.
        case askingWithoutKeys
    }

    /// How many redirections are followed without a pause; an outdated slot map needs one or two.
    private static let immediateHops = 4
    /// The pause before a retry.
    ///
    /// It doubles with each redirection after the first ``hopsBeforeBackoff``, up to a factor of 64.
    private static let pauseMilliseconds: Int64 = 3
    private static let hopsBeforeBackoff = 8

    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let command = RoutedCommand(
            slot: Int(request.partition.number), deadline: request.deadline,
            send: { node, entry, redirect in
                // If the owner has none of the bucket's Redis keys, some of them may not exist on any node. The
                // importing node cannot distinguish these from keys that have not arrived yet, and rejects a command
                // with several keys. The command therefore names only one.
                let keyCount = entry == .askingWithoutKeys ? 1 : 3
                node.lease(request, keyCount: keyCount, isAsking: entry != .owner, redirected: { redirect($0) }) {
                    result, now in
                    redirect(nil)
                    reply(result, now)
                }
            }, fail: { failure, now in reply(.failure(failure), now) })
        go(command)
    }

    /// Sends one command about data in a slot.
    func command(
        _ words: [[UInt8]], at partition: PartitionID, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void
    ) {
        let deadline = context.clock.now().advanced(byMilliseconds: timeoutMilliseconds)
        let command = RoutedCommand(
            slot: Int(partition.number), deadline: deadline,
            send: { node, entry, redirect in
                node.command(words, isAsking: entry != .owner, timeoutMilliseconds: timeoutMilliseconds) { result in
                    if case .success(.error(let message)) = result, let target = Redirect(message) {
                        return redirect(target)
                    }
                    redirect(nil)
                    reply(result)
                }
            }, fail: { failure, _ in reply(.failure(failure)) })
        go(command)
    }

    var overrideHolders: [OverrideCopies.Holder] {
        [
            OverrideCopies.Holder(name: "cluster") { [self] words in
                await command(words, at: OverrideScript.partition, timeoutMilliseconds: 1000)
            }
        ]
    }

    private func go(_ command: RoutedCommand) {
        guard let owner = state.withLock({ $0.owners[command.slot] }) else {
            return command.fail(.unreachable, context.clock.now())
        }
        go(command, to: owner, as: .owner)
    }

    private func go(_ command: RoutedCommand, to node: RedisNode, as entry: Entry) {
        command.send(node, entry) { redirect in
            guard let redirect else { return }
            var command = command
            command.hops += 1
            self.follow(redirect, command, from: node)
        }
    }

    private func follow(_ redirect: Redirect, _ command: RoutedCommand, from node: RedisNode) {
        let onward: @Sendable () -> Void
        switch redirect {
        case .moved(let slot, let address):
            refreshSlots()
            // If the target is unknown or is the sender itself, only a new slot map can help.
            let target = address.on(node.endpoint.host)
            guard !target.isUnknown, target != node.endpoint.address else {
                logUnroutableCommand(command, from: node)
                return pause(command) { self.go(command) }
            }
            let owner = learn(slot, at: target)
            onward = { self.arrive(command, at: owner, as: .owner) }
        case .ask(_, let address):
            let target = known(address.isUnknown ? node.endpoint.address : address.on(node.endpoint.host))
            let entry: Entry = node.sendsAskOnlyWithoutKeys ? .askingWithoutKeys : .asking
            onward = { self.arrive(command, at: target, as: entry) }
        case .tryAgain: return pause(command) { self.go(command) }
        case .unserved:
            refreshSlots()
            return command.fail(.unreachable, context.clock.now())
        }
        // Nodes may redirect to each other without end: slow down and log it.
        if command.hops > 2 * Self.immediateHops { logUnroutableCommand(command, from: node) }
        if command.hops <= Self.immediateHops { onward() } else { pause(command, then: onward) }
    }

    /// Sends a command to a node once it is connected; fails immediately if connecting has failed.
    private func arrive(_ command: RoutedCommand, at node: RedisNode?, as entry: Entry) {
        guard let node, node.isUp || !node.hasBeenTried else {
            return command.fail(.unreachable, context.clock.now())
        }
        if node.isUp { return go(command, to: node, as: entry) }
        pause(command) { self.arrive(command, at: node, as: entry) }
    }

    private func pause(_ command: RoutedCommand, then: @escaping @Sendable () -> Void) {
        let now = context.clock.now()
        let doublings = min(6, max(0, command.hops - Self.hopsBeforeBackoff))
        let pause = Self.pauseMilliseconds << Int64(doublings)
        guard now.advanced(byMilliseconds: pause) < command.deadline else { return command.fail(.timedOut, now) }
        eventLoop.scheduleTask(in: .milliseconds(pause)) { then() }
    }

    private func logUnroutableCommand(_ command: RoutedCommand, from node: RedisNode) {
        let now = context.clock.now()
        guard let suppressed = state.withLock({ $0.routingLog.permit(now: now) }) else { return }
        context.logger.warning(
            "requests cannot find the node that owns their slot",
            metadata: [
                "slot": "\(command.slot)", "node": "\(node.endpoint.name)", "suppressed": "\(suppressed)",
                "remedy":
                    "let nodes announce an address: cluster-preferred-endpoint-type ip, or cluster-announce-hostname",
            ])
    }

    /// Records the new owner of a slot.
    private func learn(_ slot: Int, at address: NodeAddress) -> RedisNode? {
        var fresh: [RedisNode] = []
        let node = state.withLock { state -> RedisNode? in
            guard let node = member(at: address, in: &state, fresh: &fresh) else { return nil }
            state.owners[slot] = node
            reachability.set(PartitionID(UInt16(slot)), isUp: node.isUp)
            return node
        }
        fresh.forEach { $0.begin() }
        return node
    }

    private func known(_ address: NodeAddress) -> RedisNode? {
        var fresh: [RedisNode] = []
        let now = context.clock.now()
        let node = state.withLock { state in
            state.redirectTargets[address] = now
            return member(at: address, in: &state, fresh: &fresh)
        }
        fresh.forEach { $0.begin() }
        return node
    }
}
