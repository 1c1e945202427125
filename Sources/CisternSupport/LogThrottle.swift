package import Cistern

/// Permits one log line every ten seconds and counts the suppressed lines.
package struct LogThrottle: Sendable {
    private static let pauseMilliseconds: Int64 = 10_000

    private var nextPermittedAt: Instant?
    private var suppressed = 0

    package init() {}

    /// The number of lines suppressed since the last permitted one, if a line may be written now; nil if not.
    package mutating func permit(now: Instant) -> Int? {
        if let nextPermittedAt, now < nextPermittedAt {
            suppressed += 1
            return nil
        }
        nextPermittedAt = now.advanced(byMilliseconds: Self.pauseMilliseconds)
        defer { suppressed = 0 }
        return suppressed
    }
}
