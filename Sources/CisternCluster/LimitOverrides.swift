package import Cistern

/// Limits that operators have set for single organizations while servers run.
///
/// Copies of it may be in any number of places: whichever was set last for an organization wins, wherever it is found, and
/// what was removed leaves a trace that wins over what was set before. So copies can be merged in any order and end up the
/// same (a last-writer-wins map: Shapiro et al., 2011). Times are milliseconds since 1970, on the clock that all share.
package struct LimitOverrides: Sendable, Equatable {
    /// What was last said of one organization.
    package struct Entry: Sendable, Equatable {
        /// The limit; nil where it was removed.
        package let limit: Limit?
        /// When that was said.
        package let setAtMilliseconds: Int64
        /// When it ends by itself; nil for never.
        package let expiresAtMilliseconds: Int64?
        /// By whom, by name.
        package let setBy: String

        package init(limit: Limit?, setAtMilliseconds: Int64, expiresAtMilliseconds: Int64?, setBy: String) {
            self.limit = limit
            self.setAtMilliseconds = setAtMilliseconds
            self.expiresAtMilliseconds = expiresAtMilliseconds
            self.setBy = setBy
        }

        /// Whether it is the limit at a time.
        package func isInForce(atMilliseconds now: Int64) -> Bool {
            limit != nil && expiresAtMilliseconds.map { now < $0 } ?? true
        }

        /// When a removal was said, or what was set ended.
        var endedAtMilliseconds: Int64 {
            limit == nil ? setAtMilliseconds : expiresAtMilliseconds ?? .max
        }

        /// Whether it wins over another of the same organization; of two of the same millisecond one does, everywhere.
        func wins(over other: Entry) -> Bool {
            if setAtMilliseconds != other.setAtMilliseconds { return setAtMilliseconds > other.setAtMilliseconds }
            return self != other && text > other.text
        }
    }

    /// How many organizations may have an override, or a trace of one: what is beyond makes the oldest traces go.
    package static let maximumCount = 10_000
    /// How long a trace is kept of what has been removed or has ended: thirty days.
    ///
    /// A copy that was out of reach for longer may bring it back.
    static let traceMilliseconds: Int64 = 30 * 86_400_000

    /// The times that there can be: milliseconds from 1970 to the end of the year 9999.
    package static let times: ClosedRange<Int64> = 0...253_402_300_799_999

    /// By organization.
    package private(set) var entries: [String: Entry] = [:]

    package init() {}

    /// Those that are the limit at a time.
    package func inForce(atMilliseconds now: Int64) -> [String: Limit] {
        entries.compactMapValues { $0.isInForce(atMilliseconds: now) ? $0.limit : nil }
    }

    /// Takes in what was said of an organization, unless something later is known.
    @discardableResult
    package mutating func merge(_ key: String, _ entry: Entry) -> Bool {
        if let known = entries[key], !entry.wins(over: known) { return false }
        entries[key] = entry
        return true
    }

    /// Takes in another copy.
    package mutating func merge(_ other: LimitOverrides) {
        for (key, entry) in other.entries { merge(key, entry) }
    }

    /// What is known here and is not, or was said earlier, in another copy.
    package func missing(in other: LimitOverrides) -> [String: Entry] {
        entries.filter { key, entry in
            other.entries[key].map { entry.wins(over: $0) } ?? true
        }
    }

    /// Something to be said of an organization, such that it wins over everything known.
    package func entry(
        for key: String, limit: Limit?, expiresAtMilliseconds: Int64?, setBy: String, nowMilliseconds: Int64
    ) -> Entry {
        let last = min(entries[key]?.setAtMilliseconds ?? 0, .max - 1)
        return Entry(
            limit: limit, setAtMilliseconds: max(nowMilliseconds, last + 1),
            expiresAtMilliseconds: expiresAtMilliseconds, setBy: setBy)
    }

    /// Forgets traces that are old enough, and the oldest where there are too many, and returns what they were.
    ///
    /// - Parameter most: how many entries there may be.
    package mutating func dropTraces(atMilliseconds now: Int64, most: Int = maximumCount) -> [String: Entry] {
        let traces = entries.filter { !$0.value.isInForce(atMilliseconds: now) }
        var dropped = traces.filter { $0.value.endedAtMilliseconds < now - Self.traceMilliseconds }
        let excess = entries.count - dropped.count - most
        if excess > 0 {
            let oldest = traces.filter { dropped[$0.key] == nil }
                .sorted { ($0.value.endedAtMilliseconds, $0.key) < ($1.value.endedAtMilliseconds, $1.key) }
            for (key, entry) in oldest.prefix(excess) { dropped[key] = entry }
        }
        for key in dropped.keys { entries[key] = nil }
        return dropped
    }
}

extension LimitOverrides.Entry {
    /// As a copy keeps it: when, by whom, until when, and the limit, `setAt:expiresAt:shadow:capacity:thousandths:setBy`.
    package var text: String {
        let shadow = limit?.isShadow == true ? 1 : 0
        let capacity = limit?.capacity ?? 0
        let thousandths = limit?.refillMicrotokensPerMillisecond ?? 0
        return "\(setAtMilliseconds):\(expiresAtMilliseconds ?? 0):\(shadow):\(capacity):\(thousandths):\(setBy)"
    }

    /// Reads what a copy keeps; nil where it is not such a text.
    package init?(text: String) {
        let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count == 6, let setAt = Int64(parts[0]), let expiresAt = Int64(parts[1]),
            let capacity = Int(parts[3]), let thousandths = Int64(parts[4]),
            LimitOverrides.times ~= setAt, LimitOverrides.times ~= expiresAt
        else { return nil }
        var limit: Limit?
        if capacity > 0 {
            let refill = Double(thousandths) / 1000
            guard let read = try? Limit(capacity: capacity, refillPerSecond: refill, isShadow: parts[2] == "1")
            else { return nil }
            limit = read
        }
        self.init(
            limit: limit, setAtMilliseconds: setAt, expiresAtMilliseconds: expiresAt == 0 ? nil : expiresAt,
            setBy: String(parts[5]))
    }
}
