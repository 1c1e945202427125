internal import Cistern

/// What the servers of a world run: our limiter, or a rival's rule to compare it with.
enum SimulatedLimiter {
    case cistern(RateLimiter)
    case writeBehind(WriteBehindLimiter)
}

/// A limiter that counts locally at once and tells the store every so often: what it admits between two tellings, the
/// others learn of too late.
struct WriteBehindLimiter {
    private struct Cell {
        /// The store's balance as last told, less what was spent here since, refilled meanwhile.
        var bucket: TokenBucket
        /// Spent here and not told.
        var untold = 0
    }

    /// How often the store is told, in milliseconds.
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
        let isAllowed = cell.bucket.take(Int64(cost) * Limit.microtokensPerToken)
        if isAllowed { cell.untold += cost }
        cells[key] = cell
        return isAllowed
    }

    /// What to tell the store now.
    mutating func takeUntold() -> [(key: Int, tokens: Int)] {
        let keys = cells.keys.sorted()
        return keys.compactMap { key in
            guard let untold = cells[key]?.untold, untold > 0 else { return nil }
            cells[key]?.untold = 0
            return (key, untold)
        }
    }

    /// Takes in what the store says.
    mutating func settle(_ key: Int, balanceMicrotokens: Int64, now: Instant) {
        guard let cell = cells[key] else { return }
        let untold = Int64(cell.untold) * Limit.microtokensPerToken
        cells[key]?.bucket = TokenBucket(
            microtokens: balanceMicrotokens - untold, asOfMilliseconds: now.milliseconds)
    }
}
