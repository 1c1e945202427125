/// The limit of one key: a burst of `capacity` tokens, refilled at `refillPerSecond`.
///
/// Amounts are whole microtokens (10⁻⁶ token) and whole milliseconds, and refill is a whole number of microtokens per
/// millisecond. So refilling needs no division and no rounding, and a bucket never drifts. All amounts stay below 2^53,
/// so the store's script, which computes in doubles, is exact as well.
public struct Limit: Hashable, Sendable, BitwiseCopyable {
    /// The largest capacity: 10^9 tokens.
    public static let maximumCapacity = 1_000_000_000
    /// The largest refill rate: 10^9 tokens a second.
    public static let maximumRefillPerSecond = 1_000_000_000.0
    /// The longest time that filling an empty bucket may take: ten years of 365 days.
    public static let maximumFillSeconds = 315_360_000.0

    /// Microtokens in a token.
    package static let microtokensPerToken: Int64 = 1_000_000

    package let refillMicrotokensPerMillisecond: Int64
    /// The capacity in tokens; the highest bit says whether the limit is in shadow mode.
    ///
    /// As narrow as possible, since every key in memory has a limit.
    let capacityAndShadow: UInt32
    private static let shadowBit: UInt32 = 1 << 31

    /// A burst of 100 and 10 tokens a second.
    public static let standard = Limit(capacityTokens: 100, refillMicrotokensPerMillisecond: 10_000, isShadow: false)

    private init(capacityTokens: UInt32, refillMicrotokensPerMillisecond: Int64, isShadow: Bool) {
        self.init(
            refillMicrotokensPerMillisecond: refillMicrotokensPerMillisecond,
            capacityAndShadow: isShadow ? capacityTokens | Self.shadowBit : capacityTokens)
    }

    /// Creates a limit from its stored fields, without checks.
    @inline(__always)
    init(refillMicrotokensPerMillisecond: Int64, capacityAndShadow: UInt32) {
        self.refillMicrotokensPerMillisecond = refillMicrotokensPerMillisecond
        self.capacityAndShadow = capacityAndShadow
    }

    /// Creates a limit.
    ///
    /// - Parameters:
    ///   - capacity: the burst in tokens, 1 to 10^9.
    ///   - refillPerSecond: tokens a second, 0.001 to 10^9, in whole thousandths.
    ///   - isShadow: whether the limit only reports the requests that it would deny.
    /// - Throws: `LimitError`, which names the field, its value and the remedy.
    public init(capacity: Int, refillPerSecond: Double, isShadow: Bool = false) throws(LimitError) {
        guard 1...Self.maximumCapacity ~= capacity else {
            throw LimitError(
                field: .capacity, value: "\(capacity)", remedy: "use a whole number of tokens from 1 to 1000000000")
        }
        // Only a rate with at most three decimals is the double nearest to a whole number of thousandths.
        let thousandths = (refillPerSecond * 1000).rounded()
        guard refillPerSecond <= Self.maximumRefillPerSecond, thousandths >= 1, thousandths / 1000 == refillPerSecond
        else {
            throw LimitError(
                field: .refillPerSecond, value: "\(refillPerSecond)",
                remedy: "use tokens per second from 0.001 to 1000000000 with at most three decimals")
        }
        guard Double(capacity) / refillPerSecond <= Self.maximumFillSeconds else {
            throw LimitError(
                field: .refillPerSecond, value: "\(refillPerSecond)",
                remedy: "a bucket of \(capacity) would take over ten years to fill; raise the rate or lower capacity")
        }
        self.init(
            capacityTokens: UInt32(capacity), refillMicrotokensPerMillisecond: Int64(thousandths), isShadow: isShadow)
    }

    /// The burst, in whole tokens.
    public var capacity: Int { Int(capacityAndShadow & ~Self.shadowBit) }

    /// Whether the limit is in shadow mode: requests are metered and counted, but never denied.
    public var isShadow: Bool { capacityAndShadow & Self.shadowBit != 0 }

    /// Whether this limit allows less than another, in a burst or over time.
    func isLower(than other: Limit) -> Bool {
        capacity < other.capacity
            || refillMicrotokensPerMillisecond < other.refillMicrotokensPerMillisecond
    }

    package var capacityMicrotokens: Int64 { Int64(capacity) &* Self.microtokensPerToken }

    /// Tokens a second.
    public var refillPerSecond: Double {
        Double(refillMicrotokensPerMillisecond) / 1000
    }
}
