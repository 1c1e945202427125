package import Cistern

/// Permits a number of log lines every ten seconds, and counts the suppressed lines.
package struct LogThrottle: Sendable {
    private static let windowMilliseconds: Int64 = 10_000

    private let maximumLines: Int
    private var windowEndsAt: Instant?
    private var permitted = 0
    private var suppressed = 0

    /// - Parameter maximumLines: how many lines are permitted in a window, 1 or more.
    package init(maximumLines: Int = 1) {
        self.maximumLines = maximumLines
    }

    /// The number of lines suppressed since the last permitted one, if a line may be written now; nil if not.
    package mutating func permit(now: Instant) -> Int? {
        if let windowEndsAt, now < windowEndsAt {
            guard permitted < maximumLines else {
                suppressed += 1
                return nil
            }
            permitted += 1
            return 0
        }
        windowEndsAt = now.advanced(byMilliseconds: Self.windowMilliseconds)
        permitted = 1
        defer { suppressed = 0 }
        return suppressed
    }

    /// Whether the next line would be permitted, with no suppressed lines to report: forgetting it loses nothing.
    package func isIdle(now: Instant) -> Bool {
        suppressed == 0 && windowEndsAt.map { now >= $0 } ?? true
    }
}
