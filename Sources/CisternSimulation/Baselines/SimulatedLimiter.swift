internal import Cistern

/// The limiter that a world's servers run: Cistern's, or another rule for comparison.
enum SimulatedLimiter {
    case cistern(RateLimiterEngine)
    case writeBehind(WriteBehindLimiter)
}

/// A limiter that counts locally and settles with the store at a fixed interval (write-behind).
///
/// Servers learn of each other's admissions only when they settle.
struct WriteBehindLimiter {
    private struct Cell {
        /// The store's balance at the last settlement, minus local spending since then, plus refill.
        var bucket: TokenBucket
        /// Tokens spent locally and not yet reported to the store.
        var unreported = 0
    }

    /// The interval between settlements, in milliseconds.
    static let intervalMilliseconds: Int64 = 100

    private let limit: Limit
    private var cells: [Int: Cell] = [:]

    init(limit: Limit) {
        self.limit = limit
    }

    mutating func decide(_ key: Int, cost: Int, now: Instant) -> Bool {
        let full = Cell(bucket: TokenBucket(full: limit, nowMilliseconds: now.milliseconds))
        var cell = cells[key] ?? full
        cell.bucket.refill(limit, nowMilliseconds: now.milliseconds)
        let isAllowed = cell.bucket.take(limit.units(of: cost))
        if isAllowed { cell.unreported += cost }
        cells[key] = cell
        return isAllowed
    }

    /// Returns the unreported tokens of each key, in key order, and counts them as reported.
    mutating func takeUnreported() -> [(key: Int, tokens: Int)] {
        let keys = cells.keys.sorted()
        return keys.compactMap { key in
            guard let unreported = cells[key]?.unreported, unreported > 0 else { return nil }
            cells[key]?.unreported = 0
            return (key, unreported)
        }
    }

    /// Updates the local bucket from the store's balance.
    mutating func settle(_ key: Int, balanceUnits: Int64, now: Instant) {
        guard let cell = cells[key] else { return }
        let unreported = limit.units(of: cell.unreported)
        cells[key]?.bucket = TokenBucket(
            units: balanceUnits - unreported, asOfMilliseconds: now.milliseconds)
    }
}
