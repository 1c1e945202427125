package import Cistern
package import CisternCluster
internal import CisternSupport
package import Logging

/// The copies of all overrides of limits on the nodes of a store: one on each node of a ring, one in a Redis Cluster.
///
/// What any of them knows is known, and is brought to the others: so overrides survive the loss of a node, and are on one
/// that joins a moment later.
package actor OverrideCopies {
    /// A place with a copy.
    struct Holder: Sendable {
        let name: String
        let ask: @Sendable (_ words: [[UInt8]]) async -> Result<RESPValue, LeaseFailure>
    }

    /// What a holder had when it was last looked at.
    private struct Copy {
        var version = ""
        var content = LimitOverrides()
    }

    private let nodes: any StoreNodes
    private let clock: any TimeSource
    private let logger: Logger
    private var copies: [String: Copy] = [:]
    private var log = LogThrottle()
    /// Everything that is known.
    package private(set) var overrides = LimitOverrides()
    /// What to add to this process's clock for the nodes'; nil until one has answered.
    private var offsetMilliseconds: Int64?

    /// Nothing can be put on record now.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    init(nodes: any StoreNodes, clock: any TimeSource, logger: Logger) {
        self.nodes = nodes
        self.clock = clock
        self.logger = logger
    }

    /// The time on the nodes' clocks, in milliseconds since 1970; nil until one has answered.
    package var nowMilliseconds: Int64? {
        offsetMilliseconds.map { clock.now().milliseconds + $0 }
    }

    /// Looks at every copy within reach, and changes nothing there.
    package func look() async {
        let holders = nodes.overrideHolders
        let names = Set(holders.map(\.name))
        copies = copies.filter { names.contains($0.key) }
        for holder in holders { await read(holder) }
    }

    /// Looks at every copy within reach, and brings what is missing to each.
    package func synchronize() async {
        await look()
        let holders = nodes.overrideHolders
        if let now = nowMilliseconds {
            let old = overrides.dropTraces(atMilliseconds: now)
            if !old.isEmpty {
                for holder in holders { _ = await holder.ask(OverrideScript.drop(old)) }
            }
        }
        for holder in holders {
            guard let copy = copies[holder.name] else { continue }
            let missing = overrides.missing(in: copy.content)
            if !missing.isEmpty { await write(missing, to: holder) }
        }
    }

    /// Says something of an organization, on every copy within reach.
    ///
    /// - Parameter lifeMilliseconds: how long it holds; nil for ever.
    /// - Throws: ``Failure`` where no copy has taken it.
    package func set(
        _ limit: Limit?, of key: String, lifeMilliseconds: Int64?, by who: String
    ) async throws(Failure) -> LimitOverrides.Entry {
        // Where somebody else was quicker, on a clock that is a little ahead, what he said is known by the second time.
        for _ in 0..<2 {
            await synchronize()
            guard let now = nowMilliseconds else {
                throw Failure(
                    description: "no Redis node can be reached, and nothing has changed: try again when one is up")
            }
            let entry = overrides.entry(
                for: key, limit: limit, expiresAtMilliseconds: lifeMilliseconds.map { now + $0 }, setBy: who,
                nowMilliseconds: now)
            var written: Int64?
            for holder in nodes.overrideHolders {
                if let count = await write([key: entry], to: holder) { written = max(written ?? 0, count) }
            }
            guard let written else {
                throw Failure(
                    description:
                        "no Redis node has confirmed it, though one may have taken it: look again when one is up")
            }
            guard written > 0 else { continue }
            overrides.merge(key, entry)
            return entry
        }
        throw Failure(description: "others change it at the same time: look at it, and try again")
    }

    private func read(_ holder: Holder) async {
        let result = await holder.ask(OverrideScript.read(since: copies[holder.name]?.version ?? ""))
        switch result {
        case .failure: break
        case .success(.error(let message)): complain(message, of: holder)
        case .success(let reply):
            guard let reading = OverrideScript.Reading(reply) else { return complain("\(reply)", of: holder) }
            offsetMilliseconds = reading.nowMilliseconds - clock.now().milliseconds
            if let content = reading.overrides {
                copies[holder.name] = Copy(version: reading.version, content: content)
                overrides.merge(content)
            } else if copies[holder.name] == nil {
                copies[holder.name] = Copy(version: reading.version)
            }
        }
    }

    /// Puts entries on record at a holder, and says how many were news there; nil where it does not answer.
    ///
    /// What is there afterwards is read with the next look.
    @discardableResult
    private func write(_ entries: [String: LimitOverrides.Entry], to holder: Holder) async -> Int64? {
        switch await holder.ask(OverrideScript.write(entries)) {
        case .success(.integer(let count)): return count
        case .success(let reply): complain("\(reply)", of: holder)
        case .failure: break
        }
        return nil
    }

    private func complain(_ answer: String, of holder: Holder) {
        guard let suppressed = log.permit(now: clock.now()) else { return }
        logger.warning(
            "overrides of limits cannot be read or written",
            metadata: ["node": "\(holder.name)", "answer": "\(answer)", "notLogged": "\(suppressed)"])
    }
}

extension RedisStore {
    /// The copies of all overrides on its nodes.
    package func overrideCopies(clock: any TimeSource, logger: Logger) -> OverrideCopies {
        OverrideCopies(nodes: nodes, clock: clock, logger: logger)
    }
}
