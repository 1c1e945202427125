internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Logging
internal import NIOCore
internal import Synchronization

/// How lease requests are carried.
extension RedisNode {
    typealias Reply = @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void

    /// Told that the node has not acted on a request: in a Redis Cluster another one has to, or this one later.
    typealias Redirected = @Sendable (Redirect) -> Void

    /// Carries one lease request.
    ///
    /// Any thread may call; either `reply` or `redirected` is called once, on the node's event loop or before this
    /// returns.
    ///
    /// - Parameters:
    ///   - keys: which of the organization's keys the node is told.
    ///   - isAsking: whether another node has sent the request on to this one, while a slot is being moved.
    ///   - redirected: for a node of a Redis Cluster.
    func lease(
        _ request: LeaseRequest, keys: KeyNames.Choice, isAsking: Bool = false, redirected: Redirected? = nil,
        reply: @escaping Reply
    ) {
        guard isUp else { return finish(request, .failure(.unreachable), reply) }
        if eventLoop.inEventLoop {
            send(request, as: nil, keys: keys, isAsking: isAsking, redirected, reply)
        } else {
            eventLoop.execute {
                self.send(request, as: nil, keys: keys, isAsking: isAsking, redirected, reply)
            }
        }
    }

    /// - Parameter call: how the node is told to run the script; by the digest that it gave unless said.
    private func send(
        _ request: LeaseRequest, as call: LeaseScript.Call?, keys: KeyNames.Choice, isAsking: Bool,
        _ redirected: Redirected?, _ reply: @escaping Reply
    ) {
        guard isUp, let connection = loop.value.connection else {
            return finish(request, .failure(.unreachable), reply)
        }
        let now = clock.now()
        let remaining = request.deadline.nanoseconds - now.nanoseconds
        // One that has waited too long already says nothing about the node.
        guard remaining > 0 else { return finish(request, .failure(.timedOut), reply) }
        let isFirst = call == nil
        guard !isFirst || loop.value.ramp.permits(now: now) else {
            return finish(request, .failure(.overloaded), reply)
        }
        // It is good for one command, and that is used up even where the command fails.
        connection.send(
            after: isAsking ? Self.asking : nil, deadline: eventLoop.now + .nanoseconds(remaining),
            completion: { result in
                if isFirst, case .success(.value(.error(let message))) = result, message.hasPrefix("NOSCRIPT") {
                    // Somebody has emptied the node's script cache; EVAL runs the script and fills it again.
                    return self.send(request, as: .source, keys: keys, isAsking: isAsking, redirected, reply)
                }
                self.take(result, of: request, connection, redirected, reply)
            },
            write: { commands in
                let call = call ?? .digest(loop.value.scriptDigest)
                LeaseScript.write(request, as: call, keys: keys, to: &commands)
            })
    }

    /// Takes in the answer to a request, or that there is none.
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
            if let trouble = NodeFailure(reply: message) {
                connection.close(trouble)
            } else if !message.hasPrefix("STALE") {
                // A late give-back that comes after a later request has nothing more to say.
                logRejection(message)
                noteRejection(message, connection)
            }
            finish(request, .failure(.rejected(message)), done)
        case .success(let reply):
            guard let answer = LeaseScript.answer(in: reply, to: request) else {
                let words = "unexpected answer to the lease script: \(reply.value)".prefix(200)
                connection.close(NodeFailure(.protocol, String(words)))
                return finish(request, .failure(.rejected("unexpected answer")), done)
            }
            if loop.value.health.serve() { logger.notice("Redis node is up; decisions are metered") }
            loop.value.rejections = 0
            logRemarks(answer, on: request)
            finish(request, .success(answer.grant), done)
        }
    }

    /// Logs what the script found wrong with a bucket, and has put right.
    private func logRemarks(_ answer: LeaseScript.Answer, on request: LeaseRequest) {
        guard answer.repairedValues > 0 || answer.stepBackMilliseconds > 0,
            let suppressed = loop.value.remarkLog.permit(now: clock.now())
        else { return }
        var metadata: Logger.Metadata = [
            "organization": "\(String(decoding: request.key, as: UTF8.self))", "suppressed": "\(suppressed)",
        ]
        if answer.repairedValues > 0 {
            metadata["values"] = "\(answer.repairedValues)"
            metadata["remedy"] = "find what else writes to keys that begin with ratelimit:"
            logger.warning("Redis held values that no server wrote; they were removed", metadata: metadata)
        } else {
            metadata["milliseconds"] = "\(answer.stepBackMilliseconds)"
            metadata["remedy"] = "let the time service of the Redis host slew its clock instead of stepping it"
            logger.warning("Redis' clock stepped back; leases begin again", metadata: metadata)
        }
    }

    private func finish(_ request: LeaseRequest, _ result: Result<Grant, LeaseFailure>, _ reply: Reply) {
        let now = clock.now()
        shared.withLock { $0.statistics.count(request, result, now: now) }
        reply(result, now)
    }

    /// How many rejections in a row are the node's trouble and not the requests'.
    private static let mostRejections = 5

    /// A node that grants nothing in between is of no use: it is entered anew, by its name.
    private func noteRejection(_ message: String, _ connection: RedisConnection) {
        // That is about one key, whatever others get.
        guard !message.contains("WRONGTYPE") else { return }
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
