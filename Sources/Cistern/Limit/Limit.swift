/// The limit of one key: a burst of `capacity` tokens, refilled at `refill`.
///
/// A bucket counts in whole units, and each limit has its own number of units per token, so that a whole number of
/// units flows in per millisecond. Refilling therefore needs no division and no rounding, and a bucket never drifts.
/// All amounts stay below 2^53, so the store's script, which computes in doubles, is exact as well.
public struct Limit: Hashable, Sendable, BitwiseCopyable {
    /// The largest capacity: 10^9 tokens.
    public static let maximumCapacity = 1_000_000_000
    /// The largest refill rate: 10^9 tokens a second.
    public static let maximumRefillPerSecond = 1_000_000_000.0
    /// The longest time that filling an empty bucket may take: ten years of 365 days.
    public static let maximumFillSeconds = 315_360_000.0
    /// The largest refill rate, in units per millisecond.
    private static let maximumRate: Int64 = 1 << 40
    /// The largest capacity in units.
    package static let maximumUnits: Int64 = 1 << 50
    /// The usual number of units per token; limits have a multiple of it if they can.
    package static let standardUnitsPerToken: Int64 = 1_000_000

    /// The refill rate, in units per millisecond.
    package let refillUnitsPerMillisecond: Int64
    private let narrowUnitsPerToken: UInt32
    /// The capacity in tokens; the highest bit says whether the limit is in shadow mode.
    private let capacityAndShadow: UInt32
    private static let shadowBit: UInt32 = 1 << 31

    /// A burst of 100 and 10 tokens a second.
    public static let standard = Limit(capacity: 100, refillUnitsPerMillisecond: 10_000, unitsPerToken: 1_000_000)

    private init(capacity: Int, refillUnitsPerMillisecond: Int64, unitsPerToken: Int64, isShadow: Bool = false) {
        self.refillUnitsPerMillisecond = refillUnitsPerMillisecond
        narrowUnitsPerToken = UInt32(truncatingIfNeeded: unitsPerToken)
        capacityAndShadow = UInt32(truncatingIfNeeded: capacity) | (isShadow ? Self.shadowBit : 0)
    }

    /// Creates a limit.
    ///
    /// - Parameters:
    ///   - capacity: the burst in tokens, 0 to 10^9; 0 denies every request that costs something.
    ///   - refill: at most 10^9 tokens a second; a bucket must fill within ten years.
    ///   - isShadow: whether the limit only reports the requests that it would deny.
    /// - Throws: ``LimitError``, which names the field, its value and the remedy.
    public init(capacity: Int, refill: Refill, isShadow: Bool = false) throws(LimitError) {
        guard 0...Self.maximumCapacity ~= capacity else {
            throw LimitError(
                field: .capacity, value: "\(capacity)", remedy: "use a whole number of tokens from 0 to 1000000000")
        }
        guard refill.tokens >= 1, let period = refill.periodMilliseconds else {
            throw LimitError(
                field: .refill, value: "\(refill)",
                remedy: "use at least one token per period of whole milliseconds, such as 10/s, 5/h or 3/250ms")
        }
        guard Int128(refill.tokens) <= Int128(period) * 1_000_000 else {
            throw LimitError(field: .refill, value: "\(refill)", remedy: "use at most 1000000000 tokens a second")
        }
        let longestFill = Int128(Self.maximumFillSeconds) * 1000
        guard Int128(capacity) * Int128(period) <= Int128(refill.tokens) * longestFill else {
            throw LimitError(
                field: .refill, value: "\(refill)",
                remedy: "a bucket of \(capacity) would take over ten years to fill; raise the refill or lower capacity")
        }
        // The smallest number of units per token is the period of the reduced fraction.
        let divisor = Self.greatestCommonDivisor(Int64(refill.tokens), period)
        let (smallest, rate) = (period / divisor, Int64(refill.tokens) / divisor)
        guard let scale = Self.scale(of: smallest, rate: rate, capacity: Int64(capacity)) else {
            throw LimitError(
                field: .refill, value: "\(refill)",
                remedy: "a bucket of \(capacity) cannot count as finely as one token in \(smallest) parts; use a "
                    + "simpler refill, or a capacity of at most \(Self.maximumUnits / smallest)")
        }
        self.init(
            capacity: capacity, refillUnitsPerMillisecond: rate * scale, unitsPerToken: smallest * scale,
            isShadow: isShadow)
    }

    /// Creates a limit from a refill rate in tokens a second.
    ///
    /// - Parameters:
    ///   - capacity: as in ``init(capacity:refill:isShadow:)``.
    ///   - refillPerSecond: tokens a second, up to 10^9; stands for the simplest fraction that rounds to it.
    ///   - isShadow: whether the limit only reports the requests that it would deny.
    /// - Throws: ``LimitError``, which names the field, its value and the remedy.
    public init(capacity: Int, refillPerSecond: Double, isShadow: Bool = false) throws(LimitError) {
        guard let refill = Refill(tokensPerSecond: refillPerSecond) else {
            throw LimitError(
                field: .refillPerSecond, value: "\(refillPerSecond)",
                remedy: "use a number of tokens a second above 0, at most 1000000000")
        }
        do throws(LimitError) {
            try self.init(capacity: capacity, refill: refill, isShadow: isShadow)
        } catch {
            guard error.field == .refill else { throw error }
            throw LimitError(field: .refillPerSecond, value: "\(refillPerSecond)", remedy: error.remedy)
        }
    }

    /// The factor on the smallest number of units per token; nil if even that is too large for the capacity.
    ///
    /// More units than needed keep rounding small where amounts are divided among servers, or read as decimals.
    private static func scale(of smallest: Int64, rate: Int64, capacity: Int64) -> Int64? {
        let most = min(min(Int64(UInt32.max), maximumUnits / max(1, capacity)) / smallest, maximumRate / rate)
        guard most >= 1 else { return nil }
        return min(most, standardUnitsPerToken / greatestCommonDivisor(smallest, standardUnitsPerToken))
    }

    private static func greatestCommonDivisor(_ left: Int64, _ right: Int64) -> Int64 {
        right == 0 ? left : greatestCommonDivisor(right, left % right)
    }

    /// The burst, in whole tokens.
    public var capacity: Int { Int(capacityAndShadow & ~Self.shadowBit) }

    /// Whether the limit is in shadow mode: requests are metered and counted, but never denied.
    public var isShadow: Bool { capacityAndShadow & Self.shadowBit != 0 }

    /// Units in a token.
    package var unitsPerToken: Int64 { Int64(narrowUnitsPerToken) }

    /// A number of tokens in units.
    package func units(of tokens: Int) -> Int64 { Int64(tokens) &* unitsPerToken }

    package var capacityUnits: Int64 { units(of: capacity) }

    /// Tokens a second.
    public var refillPerSecond: Double { Double(refillUnitsPerMillisecond) * 1000 / Double(unitsPerToken) }

    /// The refill, in whole tokens per second, minute, hour or day if possible.
    public var refill: Refill {
        for period: Int64 in [1000, 60_000, 3_600_000, 86_400_000] {
            let (tokens, rest) = (Int128(refillUnitsPerMillisecond) * Int128(period))
                .quotientAndRemainder(dividingBy: Int128(unitsPerToken))
            if rest == 0, tokens <= Int128(Int.max) { return Refill(Int(tokens), per: .milliseconds(period)) }
        }
        let divisor = Self.greatestCommonDivisor(refillUnitsPerMillisecond, unitsPerToken)
        return Refill(Int(refillUnitsPerMillisecond / divisor), per: .milliseconds(unitsPerToken / divisor))
    }

    /// Whether this limit allows less than another, in a burst or over time.
    func isLower(than other: Limit) -> Bool {
        capacity < other.capacity
            || Int128(refillUnitsPerMillisecond) * Int128(other.unitsPerToken)
                < Int128(other.refillUnitsPerMillisecond) * Int128(unitsPerToken)
    }

    /// Milliseconds, rounded up, until this many units have flowed in.
    package func millisecondsToGain(_ units: Int64) -> Int64 {
        guard units > 0 else { return 0 }
        return (units - 1) / refillUnitsPerMillisecond + 1
    }

    /// An amount of this limit in units of `other`, rounded down.
    package func convert(_ units: Int64, to other: Limit) -> Int64 {
        guard unitsPerToken != other.unitsPerToken else { return units }
        let (quotient, rest) = (Int128(units) * Int128(other.unitsPerToken))
            .quotientAndRemainder(dividingBy: Int128(unitsPerToken))
        return Int64(clamping: rest < 0 ? quotient - 1 : quotient)
    }
}
