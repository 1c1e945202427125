internal import Cistern
internal import Logging
internal import NIOCore
internal import Synchronization

/// How lease requests are carried.
extension RedisNode {
    /// What came of one attempt.
    enum Attempt: Sendable {
        case finished(Result<Grant, LeaseFailure>)
        /// The node has not acted on it: in a Redis Cluster another one has to, or this one later.
        case redirected(Redirect)
    }

    typealias Reply = @Sendable (Attempt, Instant) -> Void

    /// Carries one lease request.
    ///
    /// Any thread may call; `reply` is called once, on the node's event loop or before this returns.
    ///
    /// - Parameters:
    ///   - keys: the organisation's keys, or the first of them alone.
    ///   - isAsking: whether another node has sent the request on to this one, while a slot is being moved.
    func lease(_ request: LeaseRequest, keys: [[UInt8]], isAsking: Bool = false, reply: @escaping Reply) {
        guard isUp else { return finish(request, .failure(.unreachable), reply) }
        if eventLoop.inEventLoop {
            send(request, keys: keys, isAsking: isAsking, reply)
        } else {
            eventLoop.execute { self.send(request, keys: keys, isAsking: isAsking, reply) }
        }
    }

    private func send(_ request: LeaseRequest, keys: [[UInt8]], isAsking: Bool, _ reply: @escaping Reply) {
        guard isUp, let connection = loop.value.connection else {
            return finish(request, .failure(.unreachable), reply)
        }
        let now = clock.now()
        let remaining = request.deadline.nanoseconds - now.nanoseconds
        // One that has waited too long already says nothing about the node.
        guard remaining > 0 else { return finish(request, .failure(.timedOut), reply) }
        guard loop.value.ramp.permits(now: now) else { return finish(request, .failure(.overloaded), reply) }
        let deadline = eventLoop.now + .nanoseconds(remaining)
        let arguments = LeaseScript.arguments(of: request, keys: keys)
        func ask(_ script: [[UInt8]], then: @escaping (Result<RESPValue, RedisConnection.Failure>) -> Void) {
            // It is good for one command, and that is used up even where the command fails.
            connection.send(
                script + arguments, after: isAsking ? Self.asking : nil, deadline: deadline, completion: then)
        }
        ask([Array("EVALSHA".utf8), loop.value.scriptDigest]) { result in
            guard case .success(.error(let message)) = result, message.hasPrefix("NOSCRIPT") else {
                return self.take(result, of: request, connection, reply)
            }
            // Somebody has emptied the node's script cache; EVAL runs the script and fills it again.
            ask([Array("EVAL".utf8), Array(LeaseScript.source.utf8)]) { result in
                self.take(result, of: request, connection, reply)
            }
        }
    }

    /// Takes in the answer to a request, or that there is none.
    private func take(
        _ result: Result<RESPValue, RedisConnection.Failure>, of request: LeaseRequest, _ connection: RedisConnection,
        _ reply: Reply
    ) {
        switch result {
        case .failure(let failure): finish(request, .failure(failure.asLeaseFailure), reply)
        case .success(.error(let message)):
            if role.isClustered, let redirect = Redirect(message) {
                shared.withLock { $0.statistics.redirected &+= 1 }
                return reply(.redirected(redirect), clock.now())
            }
            if let trouble = NodeTrouble(reply: message) {
                connection.close(trouble)
            } else if !message.hasPrefix("STALE") {
                // A late give-back that comes after a later request has nothing more to say.
                logRejection(message)
            }
            finish(request, .failure(.rejected(message)), reply)
        case .success(let value):
            guard let grant = LeaseScript.grant(from: value) else {
                let words = "unexpected answer to the lease script: \(value)".prefix(200)
                connection.close(NodeTrouble(.protocol, String(words)))
                return finish(request, .failure(.rejected("unexpected answer")), reply)
            }
            if loop.value.health.serve() { logger.notice("Redis node is up; decisions are metered") }
            finish(request, .success(grant), reply)
        }
    }

    private func finish(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, _ reply: Reply) {
        let now = clock.now()
        shared.withLock { $0.statistics.count(request, result, now: now) }
        reply(.finished(result), now)
    }

    private func logRejection(_ reason: String) {
        guard let suppressed = loop.value.rejectionLog.permit(now: clock.now()) else { return }
        logger.error(
            "Redis rejected a lease request", metadata: ["reason": "\(reason)", "suppressed": "\(suppressed)"])
    }
}
