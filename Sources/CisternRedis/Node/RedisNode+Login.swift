internal import Cistern
internal import NIOCore
internal import Synchronization

/// How a connection comes into use, and how it is kept.
extension RedisNode {
    /// Authenticates, chooses the database, tries whether writes are taken, and loads the script, all in one flight.
    ///
    /// The node is up once it has told the script's digest.
    func logIn(deadline: NIODeadline, whenDone: @escaping @Sendable () -> Void) {
        guard let connection = loop.value.connection else {
            fail(NodeTrouble(.closed, "the connection was lost"))
            return whenDone()
        }
        guard loop.value.health.state == .probing else {
            connection.close(NodeTrouble(.stopped, "the server is stopping"))
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
        if role.isClustered { askForVersion(connection, deadline: deadline) }
        connection.send(Self.command(["SCRIPT", "LOAD", LeaseScript.source]), deadline: deadline) { result in
            switch result {
            case .success(.string(let digest)): self.becomeUp(scriptDigest: digest)
            case .success(.error(let message)): connection.close(NodeTrouble(loginReply: message))
            case .success(let other):
                let words = "unexpected answer to SCRIPT LOAD: \(other)".prefix(200)
                connection.close(NodeTrouble(.protocol, String(words)))
            // Nothing new where the connection has told why it ended.
            case .failure(let failure): self.fail(NodeTrouble(.closed, "\(failure)"))
            }
            whenDone()
        }
    }

    private static func command(_ words: [String]) -> [[UInt8]] {
        words.map { Array($0.utf8) }
    }

    private func expectNoError(
        _ connection: RedisConnection, _ command: [[UInt8]], secrets: [String] = [], deadline: NIODeadline
    ) {
        connection.send(command, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            connection.close(NodeTrouble(loginReply: Self.without(secrets, message)))
        }
    }

    /// A reply without what was sent: a node that does not know a command repeats the beginning of its arguments.
    private static func without(_ secrets: [String], _ message: String) -> String {
        guard !secrets.isEmpty else { return message }
        let end = message.firstRange(of: " args")?.lowerBound ?? message.endIndex
        return secrets.reduce(String(message[..<end])) { $0.replacing($1, with: "***") }
    }

    private func askForVersion(_ connection: RedisConnection, deadline: NIODeadline) {
        connection.send(Self.command(["EVAL", "return redis.REDIS_VERSION_NUM or 0", "0"]), deadline: deadline) {
            result in
            guard case .success(.integer(let version)) = result else { return }
            self.shared.withLock { $0.version = version }
        }
    }

    /// Tries whether the node takes writes.
    ///
    /// With XX this writes nothing, since the key never exists; but a replica, a full node and one that cannot persist
    /// refuse it as they would refuse the script.
    private func sendWriteProbe(_ connection: RedisConnection, deadline: NIODeadline) {
        guard let key = role.probeKey() else { return }
        let command = [Array("SET".utf8), key, Array("1".utf8), Array("XX".utf8)]
        let isClustered = role.isClustered
        connection.send(command, deadline: deadline) { result in
            guard case .success(.error(let message)) = result else { return }
            // The key's slot has moved on since the slots were last looked at; that says nothing of the node.
            if isClustered, Redirect(message) != nil { return }
            connection.close(NodeTrouble(loginReply: message))
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
            case .success(.error(let message)): connection.close(NodeTrouble(loginReply: message))
            case .success(let reply): share.take(reply, sentAt: sentAt, clockDriftPerMille: drift)
            case .failure: break
            }
        }
    }

    /// Gives the part of all limits up for others; `whenDone` is called once that is known there, or cannot be.
    func giveUpShare(whenDone: @escaping @Sendable () -> Void) {
        guard isUp, let share = role.share, let connection = loop.value.connection else { return whenDone() }
        // A node that hangs must not keep the server from stopping; there the part lapses by itself.
        let deadline = eventLoop.now + .milliseconds(settings.connectTimeoutMilliseconds / 4)
        connection.send(share.request(now: clock.now(), isLeaving: true), deadline: deadline) { _ in whenDone() }
    }
}
