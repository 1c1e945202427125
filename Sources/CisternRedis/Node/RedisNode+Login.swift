internal import Cistern
internal import CisternCluster
internal import Logging
internal import NIOCore
internal import Synchronization

/// Login, and the heartbeat of a connection in use.
extension RedisNode {
    /// Authenticates, selects the database, probes for writes, and loads the script, all pipelined.
    ///
    /// The node is up once it has returned the script's digest and passed a trial run.
    func logIn(deadline: NIODeadline, whenDone: @escaping @Sendable () -> Void) {
        guard let connection = loop.value.connection else {
            fail(NodeFailure(.closed, "the connection was lost"))
            return whenDone()
        }
        guard loop.value.health.state == .probing else {
            connection.close(NodeFailure(.stopped, "the server is stopping"))
            return whenDone()
        }
        if let password = endpoint.password {
            let credentials = [endpoint.username, password].compactMap { $0 }
            expectNoError(
                connection, Self.command(["AUTH"] + credentials), secrets: credentials, deadline: deadline)
        }
        if endpoint.database != 0 {
            expectNoError(connection, Self.command(["SELECT", "\(endpoint.database)"]), deadline: deadline)
        }
        sendWriteProbe(connection, deadline: deadline)
        renewFraction(connection, deadline: deadline)
        if role.isClustered {
            checkCluster(connection, deadline: deadline)
            askForVersion(connection, deadline: deadline)
        }
        askForEvictionPolicy(connection, deadline: deadline)
        let load = Self.command(["SCRIPT", "LOAD", LeaseScript.source])
        connection.send(load, closesConnectionOnTimeout: true, deadline: deadline) { result in
            switch result {
            case .success(.string(let digest)): return self.tryScript(digest, connection, deadline: deadline, whenDone)
            case .success(.error(let message)): connection.close(NodeFailure(loginReply: message))
            case .success(let other):
                let message = "unexpected answer to SCRIPT LOAD: \(other)".prefix(200)
                connection.close(NodeFailure(.protocol, String(message)))
            // This has no effect if the connection has already reported why it ended.
            case .failure(let failure): self.fail(NodeFailure(.closed, "\(failure)"))
            }
            whenDone()
        }
    }

    /// Runs the script as a trial, because a node may accept `SCRIPT LOAD` and still refuse to run the script.
    private func tryScript(
        _ digest: [UInt8], _ connection: RedisConnection, deadline: NIODeadline,
        _ whenDone: @escaping @Sendable () -> Void
    ) {
        guard let key = role.probeKey() else {
            markUp(scriptDigest: digest)
            return whenDone()
        }
        let isClustered = role.isClustered
        connection.send(
            LeaseScript.trial(digest: digest, key: key), closesConnectionOnTimeout: true, deadline: deadline
        ) { result in
            switch result {
            case .success(.error(let message)) where !(isClustered && Redirect(message) != nil):
                connection.close(NodeFailure(loginReply: message))
            case .success: self.markUp(scriptDigest: digest)
            case .failure(let failure): self.fail(NodeFailure(.closed, "\(failure)"))
            }
            whenDone()
        }
    }

    /// Verifies that the node belongs to the cluster in use; another cluster may have taken over its address.
    private func checkCluster(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(Self.command(["CLUSTER", "SLOTS"]), closesConnectionOnTimeout: true, deadline: deadline) {
            result in
            switch result {
            case .success(.error(let message)): self.closeIfUnusable(connection, message)
            case .success(let reply):
                guard let map = SlotMap(reply, from: self.endpoint.host), !self.role.belongs(map) else { return }
                connection.close(.otherCluster)
            case .failure: break
            }
        }
    }

    /// Closes the connection if the error of an optional command names a node failure other than a missing permission.
    private func closeIfUnusable(_ connection: RedisConnection, _ message: String) {
        guard let nodeFailure = NodeFailure(reply: message), nodeFailure.kind != .noPermission else { return }
        connection.close(nodeFailure)
    }

    /// Warns if Redis may evict buckets, because an evicted bucket admits too much.
    private func askForEvictionPolicy(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(Self.command(["INFO", "memory"]), closesConnectionOnTimeout: true, deadline: deadline) {
            result in
            switch result {
            case .success(.error(let message)): self.closeIfUnusable(connection, message)
            case .success(.string(let bytes)): self.warnOfEviction(String(decoding: bytes, as: UTF8.self))
            default: break
            }
        }
    }

    private func warnOfEviction(_ info: String) {
        var fields: [Substring: Substring] = [:]
        for line in info.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { fields[parts[0]] = parts[1] }
        }
        let policy = String(fields["maxmemory_policy"] ?? "noeviction")
        guard policy != loop.value.evictionPolicy else { return }
        loop.value.evictionPolicy = policy
        guard policy != "noeviction" else { return }
        logger.warning(
            "Redis evicts keys when its memory is full; a bucket that is evicted admits up to its capacity once more",
            metadata: ["policy": "\(policy)", "remedy": "set maxmemory-policy to noeviction"])
    }

    private static func command(_ message: [String]) -> [[UInt8]] {
        message.map { Array($0.utf8) }
    }

    private func expectNoError(
        _ connection: RedisConnection, _ command: [[UInt8]], secrets: [String] = [], deadline: NIODeadline
    ) {
        connection.send(command, closesConnectionOnTimeout: true, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            connection.close(NodeFailure(loginReply: Self.without(secrets, message)))
        }
    }

    /// Removes secrets from an error reply: for an unknown command, Redis repeats the first arguments.
    private static func without(_ secrets: [String], _ message: String) -> String {
        guard !secrets.isEmpty else { return message }
        let end = message.firstRange(of: " args")?.lowerBound ?? message.endIndex
        return secrets.reduce(String(message[..<end])) { $0.replacing($1, with: "***") }
    }

    private func askForVersion(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(
            Self.command(["EVAL", "return redis.REDIS_VERSION_NUM or 0", "0"]), closesConnectionOnTimeout: true,
            deadline: deadline
        ) { result in
            switch result {
            case .success(.integer(let version)): self.shared.withLock { $0.version = version }
            case .success(.error(let message)): self.closeIfUnusable(connection, message)
            default: break
            }
        }
    }

    static func writeProbe(_ key: [UInt8]) -> [[UInt8]] {
        [Array("SET".utf8), key, Array("1".utf8), Array("XX".utf8)]
    }

    /// Probes whether the node accepts writes.
    ///
    /// With XX the command writes nothing, because the key never exists. A replica, a full node, or a node that cannot
    /// persist still rejects it, as it would reject the script.
    private func sendWriteProbe(_ connection: RedisConnection, deadline: NIODeadline) {
        guard let key = role.probeKey() else { return }
        let isClustered = role.isClustered
        connection.send(Self.writeProbe(key), closesConnectionOnTimeout: true, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            // The key's slot has moved since the last slot map, which says nothing about the node.
            if isClustered, Redirect(message) != nil { return }
            connection.close(NodeFailure(loginReply: message))
        }
    }

    // MARK: Heartbeat

    /// The heartbeat: renews the local fraction, and probes the connection if it has been idle for `interval`.
    ///
    /// A half-open connection is thus found before a request waits on it.
    func sendHeartbeat(interval: TimeAmount) {
        guard isUp, let connection = loop.value.connection else { return }
        let deadline = eventLoop.now + .milliseconds(settings.connectTimeoutMilliseconds)
        renewFraction(connection, deadline: deadline)
        if connection.lastSent + interval <= eventLoop.now { sendWriteProbe(connection, deadline: deadline) }
    }

    private func renewFraction(_ connection: RedisConnection, deadline: NIODeadline) {
        guard let fraction = role.fraction else { return }
        let sentAt = clock.now()
        let drift = clockDriftPerMille
        connection.send(fraction.request(now: sentAt), deadline: deadline) { result in
            switch result {
            case .success(.error(let message)) where message.hasPrefix("STALE"): break
            case .success(.error(let message)): connection.close(NodeFailure(loginReply: message))
            case .success(let reply): fraction.take(reply, sentAt: sentAt, clockDriftPerMille: drift)
            case .failure: break
            }
        }
    }

    /// Gives up the local fraction; calls `whenDone` once the node has confirmed this, or the request has failed.
    func releaseFraction(whenDone: @escaping @Sendable () -> Void) {
        guard isUp, let fraction = role.fraction, let connection = loop.value.connection else { return whenDone() }
        // A hanging node must not delay the server's stop; the fraction expires there by itself.
        let deadline = eventLoop.now + .milliseconds(settings.connectTimeoutMilliseconds / 4)
        connection.send(fraction.request(now: clock.now(), isLeaving: true), deadline: deadline) { _ in whenDone() }
    }
}
