/// How fast a bucket refills: whole tokens per period of whole milliseconds, such as `10/s` or `5/h`.
///
/// Any value can be made; ``Limit`` rejects those outside its bounds.
///
/// ```swift
/// let limit = try Limit(capacity: 20, refill: .perHour(5))
/// ```
public struct Refill: Hashable, Sendable {
    /// The tokens that flow in during ``period``.
    public let tokens: Int
    /// The time in which they flow in, evenly.
    public let period: Duration

    /// Creates a refill of `tokens` per `period`.
    public init(_ tokens: Int, per period: Duration) {
        self.tokens = tokens
        self.period = period
    }

    /// `tokens` a second.
    public static func perSecond(_ tokens: Int) -> Refill { Refill(tokens, per: .seconds(1)) }
    /// `tokens` a minute.
    public static func perMinute(_ tokens: Int) -> Refill { Refill(tokens, per: .seconds(60)) }
    /// `tokens` an hour.
    public static func perHour(_ tokens: Int) -> Refill { Refill(tokens, per: .seconds(3600)) }
    /// `tokens` per 24 hours.
    public static func perDay(_ tokens: Int) -> Refill { Refill(tokens, per: .seconds(86_400)) }
}

extension Refill: LosslessStringConvertible {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]

    /// Parses `tokens/period`; the period is `ms`, `s`, `m`, `h` or `d`, with a whole number before it unless that is
    /// 1: `600/m`, `3/250ms`, `1/2h`.
    ///
    /// nil if the text has another form.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, Self.isNumber(parts[0]), let tokens = Int(parts[0]) else { return nil }
        let count = parts[1].prefix { $0.isASCII && $0.isNumber }
        guard let unit = Self.units.first(where: { $0.name == parts[1].dropFirst(count.count) }),
            let number = count.isEmpty ? 1 : Int64(count)
        else { return nil }
        let (milliseconds, overflows) = number.multipliedReportingOverflow(by: unit.milliseconds)
        guard !overflows else { return nil }
        self.init(tokens, per: .milliseconds(milliseconds))
    }

    private static func isNumber(_ text: Substring) -> Bool {
        !text.isEmpty && text.allSatisfy { $0.isASCII && $0.isNumber }
    }

    /// The text that ``init(_:)`` parses, with the longest unit of which the period is a multiple.
    public var description: String {
        guard let milliseconds = periodMilliseconds else {
            return period == .zero ? "\(tokens)/0ms" : "\(tokens)/\(period)"
        }
        let unit = Self.units.last { milliseconds % $0.milliseconds == 0 } ?? Self.units[0]
        let count = milliseconds / unit.milliseconds
        return "\(tokens)/\(count == 1 ? "" : "\(count)")\(unit.name)"
    }

    /// The period; nil if it is not a whole number of milliseconds from 1 to 2^53.
    var periodMilliseconds: Int64? {
        let (seconds, attoseconds) = period.components
        let (milliseconds, overflows) = seconds.multipliedReportingOverflow(by: 1000)
        guard attoseconds % 1_000_000_000_000_000 == 0, !overflows else { return nil }
        let all = milliseconds &+ attoseconds / 1_000_000_000_000_000
        return 1...(1 << 53) ~= all ? all : nil
    }
}

extension Refill {
    /// The simplest refill whose rate is this number of tokens a second; nil if there is none.
    ///
    /// A number such as 0.1 or 1.0 / 3 is not exact as a double. The fraction with the smallest denominator that is
    /// equal to fifteen digits is what people mean: 1/10, 1/3. The continued fraction of the double finds it.
    ///
    /// - Parameter tokensPerSecond: 10^-12 to 10^12.
    init?(tokensPerSecond: Double) {
        guard 1e-12...1e12 ~= tokensPerSecond else { return nil }
        // The double's exact value is dividend / divisor; below 2^52 the exponent is negative.
        var dividend = UInt128(tokensPerSecond.significandBitPattern | 1 << 52)
        var divisor = UInt128(1) << UInt128(52 - tokensPerSecond.exponent)
        var (tokens, seconds): (UInt128, UInt128) = (1, 0)
        var (earlierTokens, earlierSeconds): (UInt128, UInt128) = (0, 1)
        repeat {
            let (quotient, rest) = dividend.quotientAndRemainder(dividingBy: divisor)
            (earlierTokens, tokens) = (tokens, quotient * tokens + earlierTokens)
            (earlierSeconds, seconds) = (seconds, quotient * seconds + earlierSeconds)
            (dividend, divisor) = (divisor, rest)
        } while divisor > 0 && abs(Double(tokens) / Double(seconds) - tokensPerSecond) > tokensPerSecond * 0x1p-50
        guard tokens <= UInt128(Int.max), seconds <= UInt128(Int64.max) else { return nil }
        self.init(Int(tokens), per: .seconds(Int64(seconds)))
    }
}
