package import Cistern

/// Limits that operators set for single keys while servers run.
///
/// There may be any number of copies. For each key, the entry that was set last wins. A removal leaves a tombstone,
/// which wins over earlier entries. So copies can be merged in any order with the same result (a last-writer-wins map:
/// Shapiro et al., 2011). Times are milliseconds since 1970, on a clock that all copies share.
package struct LimitOverrides: Sendable, Equatable {
    /// The last change to the override of one key.
    package struct Entry: Sendable, Equatable {
        /// The limit; nil if the override was removed, which makes this entry a tombstone.
        package let limit: Limit?
        /// When the change was made.
        package let setAtMilliseconds: Int64
        /// When the override expires; nil for never.
        package let expiresAtMilliseconds: Int64?
        /// The name of the operator who made the change.
        package let setBy: String

        package init(limit: Limit?, setAtMilliseconds: Int64, expiresAtMilliseconds: Int64?, setBy: String) {
            self.limit = limit
            self.setAtMilliseconds = setAtMilliseconds
            self.expiresAtMilliseconds = expiresAtMilliseconds
            self.setBy = setBy
        }

        /// Whether the override is in force at a time.
        package func isInForce(atMilliseconds now: Int64) -> Bool {
            limit != nil && expiresAtMilliseconds.map { now < $0 } ?? true
        }

        /// When the override was removed or expires.
        var tombstoneSinceMilliseconds: Int64 {
            limit == nil ? setAtMilliseconds : expiresAtMilliseconds ?? .max
        }

        /// Whether this entry wins over another of the same key; ties within a millisecond resolve alike in every copy.
        func wins(over other: Entry) -> Bool {
            if setAtMilliseconds != other.setAtMilliseconds { return setAtMilliseconds > other.setAtMilliseconds }
            return self != other && text > other.text
        }
    }

    /// The most keys that may have an override or a tombstone; above it, the oldest tombstones are dropped.
    package static let maximumCount = 10_000
    /// How long the tombstone of a removed or expired override is kept: thirty days, in milliseconds.
    ///
    /// A copy that was unreachable for longer may bring the override back.
    static let tombstoneMilliseconds: Int64 = 30 * 86_400_000

    /// The valid times: milliseconds from 1970 to the end of the year 9999.
    package static let times: ClosedRange<Int64> = 0...253_402_300_799_999

    /// Entries by key.
    package private(set) var entries: [String: Entry] = [:]

    package init() {}

    /// The limits in force at a time, by key.
    package func inForce(atMilliseconds now: Int64) -> [String: Limit] {
        entries.compactMapValues { $0.isInForce(atMilliseconds: now) ? $0.limit : nil }
    }

    /// Merges an entry of a key, unless a later one is known; returns whether it was merged.
    @discardableResult
    package mutating func merge(_ key: String, _ entry: Entry) -> Bool {
        if let known = entries[key], !entry.wins(over: known) { return false }
        entries[key] = entry
        return true
    }

    /// Merges another copy into this one.
    package mutating func merge(_ other: LimitOverrides) {
        for (key, entry) in other.entries { merge(key, entry) }
    }

    /// The entries that another copy does not have, or has in an earlier version.
    package func missing(in other: LimitOverrides) -> [String: Entry] {
        entries.filter { key, entry in
            other.entries[key].map { entry.wins(over: $0) } ?? true
        }
    }

    /// Creates an entry for a key that wins over the known one.
    package func entry(
        for key: String, limit: Limit?, expiresAtMilliseconds: Int64?, setBy: String, nowMilliseconds: Int64
    ) -> Entry {
        let last = min(entries[key]?.setAtMilliseconds ?? 0, .max - 1)
        return Entry(
            limit: limit, setAtMilliseconds: max(nowMilliseconds, last + 1),
            expiresAtMilliseconds: expiresAtMilliseconds, setBy: setBy)
    }

    /// Drops tombstones that are old enough and, above `most` entries, the oldest ones; returns the dropped entries.
    ///
    /// - Parameter most: the maximum number of entries, tombstones included.
    package mutating func dropTombstones(atMilliseconds now: Int64, most: Int = maximumCount) -> [String: Entry] {
        let tombstones = entries.filter { !$0.value.isInForce(atMilliseconds: now) }
        var dropped = tombstones.filter { $0.value.tombstoneSinceMilliseconds < now - Self.tombstoneMilliseconds }
        let excess = entries.count - dropped.count - most
        if excess > 0 {
            let oldest = tombstones.filter { dropped[$0.key] == nil }
                .sorted {
                    ($0.value.tombstoneSinceMilliseconds, $0.key) < ($1.value.tombstoneSinceMilliseconds, $1.key)
                }
            for (key, entry) in oldest.prefix(excess) { dropped[key] = entry }
        }
        for key in dropped.keys { entries[key] = nil }
        return dropped
    }
}

extension LimitOverrides.Entry {
    /// The stored form of the entry: `setAt:expiresAt:shadow:capacity:refill:setBy`; a tombstone has no refill.
    package var text: String {
        let shadow = limit?.isShadow == true ? 1 : 0
        let refill = limit.map { "\($0.refill)" } ?? ""
        let capacity = limit?.capacity ?? 0
        return "\(setAtMilliseconds):\(expiresAtMilliseconds ?? 0):\(shadow):\(capacity):\(refill):\(setBy)"
    }

    /// Parses the stored form; nil if the text is invalid.
    package init?(text: String) {
        let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
        guard parts.count == 6, let setAt = Int64(parts[0]), let expiresAt = Int64(parts[1]),
            let capacity = Int(parts[3]), LimitOverrides.times ~= setAt, LimitOverrides.times ~= expiresAt
        else { return nil }
        var limit: Limit?
        if !parts[4].isEmpty {
            guard let refill = Refill(String(parts[4])),
                let read = try? Limit(capacity: capacity, refill: refill, isShadow: parts[2] == "1")
            else { return nil }
            limit = read
        }
        self.init(
            limit: limit, setAtMilliseconds: setAt, expiresAtMilliseconds: expiresAt == 0 ? nil : expiresAt,
            setBy: String(parts[5]))
    }
}
