internal import Cistern
internal import CisternCluster
internal import Logging
internal import NIOCore
internal import Synchronization

/// How a connection comes into use, and how it is kept.
extension RedisNode {
    /// Authenticates, chooses the database, tries whether writes are taken, and loads the script, all in one flight.
    ///
    /// The node is up once it has told the script's digest.
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
        renewShare(connection, deadline: deadline)
        if role.isClustered {
            checkCluster(connection, deadline: deadline)
            askForVersion(connection, deadline: deadline)
        }
        askForEvictionPolicy(connection, deadline: deadline)
        let load = Self.command(["SCRIPT", "LOAD", LeaseScript.source])
        connection.send(load, isVital: true, deadline: deadline) { result in
            switch result {
            case .success(.string(let digest)): return self.tryScript(digest, connection, deadline: deadline, whenDone)
            case .success(.error(let message)): connection.close(NodeFailure(loginReply: message))
            case .success(let other):
                let words = "unexpected answer to SCRIPT LOAD: \(other)".prefix(200)
                connection.close(NodeFailure(.protocol, String(words)))
            // Nothing new where the connection has told why it ended.
            case .failure(let failure): self.fail(NodeFailure(.closed, "\(failure)"))
            }
            whenDone()
        }
    }

    /// Has the script do nothing: a node that lets it be loaded and not be run is of no use.
    private func tryScript(
        _ digest: [UInt8], _ connection: RedisConnection, deadline: NIODeadline,
        _ whenDone: @escaping @Sendable () -> Void
    ) {
        guard let key = role.probeKey() else {
            becomeUp(scriptDigest: digest)
            return whenDone()
        }
        let isClustered = role.isClustered
        connection.send(LeaseScript.trial(digest: digest, key: key), isVital: true, deadline: deadline) { result in
            switch result {
            case .success(.error(let message)) where !(isClustered && Redirect(message) != nil):
                connection.close(NodeFailure(loginReply: message))
            case .success: self.becomeUp(scriptDigest: digest)
            case .failure(let failure): self.fail(NodeFailure(.closed, "\(failure)"))
            }
            whenDone()
        }
    }

    /// Makes sure that the node is one of the cluster in use, and not of one that has taken over its address.
    private func checkCluster(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(Self.command(["CLUSTER", "SLOTS"]), isVital: true, deadline: deadline) { result in
            switch result {
            case .success(.error(let message)): self.closeIfUnusable(connection, message)
            case .success(let reply):
                guard let map = SlotMap(reply, from: self.endpoint.host), !self.role.belongs(map) else { return }
                connection.close(.otherCluster)
            case .failure: break
            }
        }
    }

    /// An error to a command that the node need not know closes the connection only where it says what the node is at.
    private func closeIfUnusable(_ connection: RedisConnection, _ message: String) {
        guard let trouble = NodeFailure(reply: message), trouble.kind != .noPermission else { return }
        connection.close(trouble)
    }

    /// Warns where Redis would evict buckets: the limit is not kept then.
    private func askForEvictionPolicy(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(Self.command(["INFO", "memory"]), isVital: true, deadline: deadline) { result in
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

    private static func command(_ words: [String]) -> [[UInt8]] {
        words.map { Array($0.utf8) }
    }

    private func expectNoError(
        _ connection: RedisConnection, _ command: [[UInt8]], secrets: [String] = [], deadline: NIODeadline
    ) {
        connection.send(command, isVital: true, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            connection.close(NodeFailure(loginReply: Self.without(secrets, message)))
        }
    }

    /// A reply without what was sent: a node that does not know a command repeats the beginning of its arguments.
    private static func without(_ secrets: [String], _ message: String) -> String {
        guard !secrets.isEmpty else { return message }
        let end = message.firstRange(of: " args")?.lowerBound ?? message.endIndex
        return secrets.reduce(String(message[..<end])) { $0.replacing($1, with: "***") }
    }

    private func askForVersion(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(
            Self.command(["EVAL", "return redis.REDIS_VERSION_NUM or 0", "0"]), isVital: true, deadline: deadline
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

    /// Tries whether the node takes writes.
    ///
    /// With XX this writes nothing, since the key never exists; but a replica, a full node and one that cannot persist
    /// refuse it as they would refuse the script.
    private func sendWriteProbe(_ connection: RedisConnection, deadline: NIODeadline) {
        guard let key = role.probeKey() else { return }
        let isClustered = role.isClustered
        connection.send(Self.writeProbe(key), isVital: true, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            // The key's slot has moved on since the slots were last looked at; that says nothing of the node.
            if isClustered, Redirect(message) != nil { return }
            connection.close(NodeFailure(loginReply: message))
        }
    }

    // MARK: Keeping it

    /// Once in a while: renews the part of all limits, and tries a connection that nothing else has tried.
    ///
    /// So one that is dead without having been closed is found before a request has to wait for it in vain.
    func beat(interval: TimeAmount) {
        guard isUp, let connection = loop.value.connection else { return }
        let deadline = eventLoop.now + .milliseconds(settings.connectTimeoutMilliseconds)
        renewShare(connection, deadline: deadline)
        if connection.lastSent + interval <= eventLoop.now { sendWriteProbe(connection, deadline: deadline) }
    }

    private func renewShare(_ connection: RedisConnection, deadline: NIODeadline) {
        guard let share = role.share else { return }
        let sentAt = clock.now()
        let drift = settings.clockDriftPerMille
        connection.send(share.request(now: sentAt), deadline: deadline) { result in
            switch result {
            case .success(.error(let message)) where message.hasPrefix("STALE"): break
            case .success(.error(let message)): connection.close(NodeFailure(loginReply: message))
            case .success(let reply): share.take(reply, sentAt: sentAt, clockDriftPerMille: drift)
            case .failure: break
            }
        }
    }

    /// Gives the part of all limits up for others; `whenDone` is called once that is known there, or cannot be.
    func releaseFraction(whenDone: @escaping @Sendable () -> Void) {
        guard isUp, let share = role.share, let connection = loop.value.connection else { return whenDone() }
        // A node that hangs must not keep the server from stopping; there the part lapses by itself.
        let deadline = eventLoop.now + .milliseconds(settings.connectTimeoutMilliseconds / 4)
        connection.send(share.request(now: clock.now(), isLeaving: true), deadline: deadline) { _ in whenDone() }
    }
}
