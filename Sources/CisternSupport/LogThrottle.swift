package import Cistern

/// Lets one line through every ten seconds, and counts those it holds back.
package struct LogThrottle: Sendable {
    private static let pauseMilliseconds: Int64 = 10_000

    private var openFrom: Instant?
    private var suppressed = 0

    package init() {}

    /// How many lines were held back since the last one, if a line may be written now; nil if not.
    package mutating func permit(now: Instant) -> Int? {
        if let openFrom, now < openFrom {
            suppressed += 1
            return nil
        }
        openFrom = now.advanced(byMilliseconds: Self.pauseMilliseconds)
        defer { suppressed = 0 }
        return suppressed
    }
}
