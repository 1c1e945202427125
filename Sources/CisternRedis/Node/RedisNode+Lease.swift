internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// Lease requests.
extension RedisNode {
    typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    /// Called if a Redis Cluster node did not act on a request.
    ///
    /// The callback must send the request to another node, send it to this node again later, or fail it.
    typealias Redirected = @Sendable (Redirect) -> Void

    /// Sends one lease request; any thread may call it.
    ///
    /// Either `reply` or `redirected` is called once, on the node's event loop or before this returns.
    ///
    /// - Parameter isAsking: whether another node redirected the request here with `ASK`, during a slot migration.
    func lease(
        _ request: LeaseRequest, keyCount: Int, isAsking: Bool = false, redirected: Redirected? = nil,
        reply: @escaping Reply
    ) {
        guard isUp else { return finish(request, .failure(.unreachable), reply) }
        if eventLoop.inEventLoop {
            send(request, as: nil, keyCount: keyCount, isAsking: isAsking, redirected, reply)
        } else {
            eventLoop.execute {
                self.send(request, as: nil, keyCount: keyCount, isAsking: isAsking, redirected, reply)
            }
        }
    }

    /// - Parameter call: how the command refers to the script; nil for the digest that the node returned at login.
    private func send(
        _ request: LeaseRequest, as call: LeaseScript.Call?, keyCount: Int, isAsking: Bool,
        _ redirected: Redirected?, _ reply: @escaping Reply
    ) {
        guard isUp, let connection = loop.value.connection else {
            return finish(request, .failure(.unreachable), reply)
        }
        let now = clock.now()
        let remaining = request.deadline.nanoseconds - now.nanoseconds
        // A request that has already waited too long says nothing about the node.
        guard remaining > 0 else { return finish(request, .failure(.timedOut), reply) }
        let isFirst = call == nil
        guard !isFirst || loop.value.ramp.permits(now: now) else {
            return finish(request, .failure(.overloaded), reply)
        }
        // `ASKING` covers one command, and is used up even if that command fails.
        connection.send(
            after: isAsking ? Self.asking : nil, deadline: eventLoop.now + .nanoseconds(remaining),
            completion: { result in
                if isFirst, case .success(.value(.error(let message))) = result, message.hasPrefix("NOSCRIPT") {
                    // The node's script cache was flushed; EVAL runs the script and caches it again.
                    return self.send(request, as: .source, keyCount: keyCount, isAsking: isAsking, redirected, reply)
                }
                self.take(result, of: request, connection, redirected, reply)
            },
            write: { commands in
                let call = call ?? .digest(loop.value.scriptDigest)
                LeaseScript.write(request, as: call, names: self.names, keyCount: keyCount, to: &commands)
            })
    }

    /// Handles the reply to a request, or its failure.
    private func take(
        _ result: Result<RESPReply, RedisConnection.Failure>, of request: LeaseRequest, _ connection: RedisConnection,
        _ redirected: Redirected?, _ done: Reply
    ) {
        switch result {
        case .failure(let failure): finish(request, .failure(failure.asLeaseFailure), done)
        case .success(.value(.error(let message))):
            if let redirected, let redirect = Redirect(message) {
                shared.withLock { $0.statistics.redirected &+= 1 }
                return redirected(redirect)
            }
            if let nodeFailure = NodeFailure(reply: message) {
                connection.close(nodeFailure)
            } else if !message.hasPrefix("STALE") {
                // `STALE` needs no log line: a later request has overtaken a late return of tokens.
                logRejection(message)
                noteRejection(message, connection)
            }
            finish(request, .failure(.rejected(message)), done)
        case .success(let reply):
            guard let answer = LeaseScript.answer(in: reply, to: request) else {
                let message = "unexpected answer to the lease script: \(reply.value)".prefix(200)
                connection.close(NodeFailure(.protocol, String(message)))
                return finish(request, .failure(.rejected("unexpected answer")), done)
            }
            if loop.value.health.serve() { logger.notice("Redis node is up; decisions are metered") }
            loop.value.rejections = 0
            logRepairs(answer, on: request)
            finish(request, .success(answer.grant), done)
        }
    }

    /// Logs what the script has repaired in a bucket, and steps of the node's clock.
    private func logRepairs(_ answer: LeaseScript.Answer, on request: LeaseRequest) {
        guard !answer.damage.isEmpty || answer.stepBackMilliseconds > 0,
            let suppressed = loop.value.repairLog.permit(now: clock.now())
        else { return }
        var metadata: Logger.Metadata = [
            "organization": "\(String(decoding: request.key, as: UTF8.self))", "suppressed": "\(suppressed)",
        ]
        if !answer.damage.isEmpty {
            metadata["fields"] = "\(answer.damage.names.joined(separator: " "))"
            metadata["remedy"] = """
                set maxmemory-policy to noeviction, or find the client that writes to keys with the prefix \
                \(names.prefix):
                """
            logger.warning("Redis lost a part of a bucket, or held values that no server wrote", metadata: metadata)
        } else {
            metadata["milliseconds"] = "\(answer.stepBackMilliseconds)"
            metadata["remedy"] = "let the time service of the Redis host slew its clock instead of stepping it"
            logger.warning("Redis' clock stepped back; leases restart from the new time", metadata: metadata)
        }
    }

    private func finish(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, _ reply: Reply) {
        let now = clock.now()
        shared.withLock { $0.statistics.count(request, result, now: now) }
        switch result {
        case .failure(.timedOut): logUnmetered("Redis did not reply within the store timeout")
        case .failure(.overloaded): logUnmetered("too many lease requests wait for Redis")
        case .success, .failure: break
        }
        reply(result, now)
    }

    /// Logs that the failure policy decides although the node is in use, at most once in ten seconds.
    private func logUnmetered(_ what: Logger.Message) {
        let suppressed = shared.withLock { $0.policyLog.permit(now: clock.now()) }
        guard let suppressed else { return }
        logger.warning(
            what,
            metadata: [
                "effect": "the failure policy decides these requests", "suppressed": "\(suppressed)",
                "remedy": "see the node's latency, and the settings storeTimeout and maxStoreRequests",
            ])
    }

    /// After this many rejections in a row, the failure is the node's and not the requests'.
    private static let mostRejections = 5

    /// Reconnects to a node that rejects request after request, and resolves its host name again.
    private func noteRejection(_ message: String, _ connection: RedisConnection) {
        loop.value.rejections += 1
        guard loop.value.rejections >= Self.mostRejections else { return }
        loop.value.rejections = 0
        connection.close(NodeFailure(.rejecting, message))
    }

    private func logRejection(_ reason: String) {
        guard let suppressed = loop.value.rejectionLog.permit(now: clock.now()) else { return }
        logger.error(
            "Redis rejected a lease request", metadata: ["reason": "\(reason)", "suppressed": "\(suppressed)"])
    }
}
