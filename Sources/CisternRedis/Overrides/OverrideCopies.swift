package import Cistern
package import CisternCluster
internal import CisternSupport
internal import Logging

/// Keeps the copies of all limit overrides in a store synchronized: one on each ring node, or one in a Redis Cluster.
///
/// An entry found in any copy is written to the others. Overrides therefore survive the loss of a node, and reach a new
/// node moments after it joins.
package actor OverrideCopies {
    /// A node or cluster that holds a copy.
    struct Holder: Sendable {
        let name: String
        let ask: @Sendable (_ words: [[UInt8]]) async -> Result<RESPValue, LeaseFailure>
    }

    /// A holder's copy when it was last read.
    private struct Copy {
        var version = ""
        var content = LimitOverrides()
    }

    private let nodes: any StoreNodes
    private let script: OverrideScript
    private let clock: any TimeSource
    private let logger: Logger
    private var copies: [String: Copy] = [:]
    private var log = LogThrottle()
    /// The merged entries of all copies.
    package private(set) var overrides = LimitOverrides()
    /// The nodes' clock minus this process's clock, in milliseconds; nil until a node has replied.
    private var offsetMilliseconds: Int64?

    /// The override cannot be stored now.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    init(nodes: any StoreNodes, context: StoreContext) {
        self.nodes = nodes
        script = OverrideScript(names: context.names)
        clock = context.clock
        logger = context.logger
    }

    /// The time on the nodes' clocks, in milliseconds since 1970; nil until a node has replied.
    package var nowMilliseconds: Int64? {
        offsetMilliseconds.map { clock.now().milliseconds + $0 }
    }

    /// Reads every reachable copy, and changes none.
    package func readAll() async {
        let holders = nodes.overrideHolders
        let names = Set(holders.map(\.name))
        copies = copies.filter { names.contains($0.key) }
        for holder in holders { await read(holder) }
    }

    /// Reads every reachable copy, and writes the missing entries to each.
    package func synchronize() async {
        await readAll()
        let holders = nodes.overrideHolders
        if let now = nowMilliseconds {
            let old = overrides.dropTombstones(atMilliseconds: now)
            if !old.isEmpty {
                for holder in holders { _ = await holder.ask(script.drop(old)) }
            }
        }
        for holder in holders {
            guard let copy = copies[holder.name] else { continue }
            let missing = overrides.missing(in: copy.content)
            if !missing.isEmpty { await write(missing, to: holder) }
        }
    }

    /// Sets or removes a key's override in every reachable copy.
    ///
    /// - Parameter limit: the limit; nil to remove the override.
    /// - Parameter timeToLiveMilliseconds: how long the override lasts, in milliseconds; nil for no end.
    /// - Throws: ``Failure`` if no copy has stored it.
    package func set(
        _ limit: Limit?, of key: String, timeToLiveMilliseconds: Int64?, by who: String
    ) async throws(Failure) -> LimitOverrides.Entry {
        // A concurrent writer whose clock is slightly ahead may win; the second attempt then knows its entry.
        for _ in 0..<2 {
            await synchronize()
            guard let now = nowMilliseconds else {
                throw Failure(
                    description: "no Redis node is reachable, so nothing has changed: try again when one is up")
            }
            let entry = overrides.entry(
                for: key, limit: limit, expiresAtMilliseconds: timeToLiveMilliseconds.map { now + $0 }, setBy: who,
                nowMilliseconds: now)
            var written: Int64?
            for holder in nodes.overrideHolders {
                if let count = await write([key: entry], to: holder) { written = max(written ?? 0, count) }
            }
            guard let written else {
                throw Failure(
                    description:
                        "no Redis node confirmed the change, but one may have stored it: check when one is up")
            }
            guard written > 0 else { continue }
            overrides.merge(key, entry)
            return entry
        }
        throw Failure(description: "others are changing this override at the same time: check it, and try again")
    }

    private func read(_ holder: Holder) async {
        let result = await holder.ask(script.read(since: copies[holder.name]?.version ?? ""))
        switch result {
        case .failure: break
        case .success(.error(let message)): logFailure(message, of: holder)
        case .success(let reply):
            guard let reading = OverrideScript.Reading(reply) else { return logFailure("\(reply)", of: holder) }
            offsetMilliseconds = reading.nowMilliseconds - clock.now().milliseconds
            if let content = reading.overrides {
                copies[holder.name] = Copy(version: reading.version, content: content)
                overrides.merge(content)
            } else if copies[holder.name] == nil {
                copies[holder.name] = Copy(version: reading.version)
            }
        }
    }

    /// Writes entries to a holder; returns how many were new there, or nil if it does not reply.
    ///
    /// The next ``readAll()`` reads the result.
    @discardableResult
    private func write(_ entries: [String: LimitOverrides.Entry], to holder: Holder) async -> Int64? {
        switch await holder.ask(script.write(entries)) {
        case .success(.integer(let count)): return count
        case .success(let reply): logFailure("\(reply)", of: holder)
        case .failure: break
        }
        return nil
    }

    private func logFailure(_ answer: String, of holder: Holder) {
        guard let suppressed = log.permit(now: clock.now()) else { return }
        logger.warning(
            "limit overrides cannot be read or written",
            metadata: ["node": "\(holder.name)", "answer": "\(answer)", "notLogged": "\(suppressed)"])
    }
}
