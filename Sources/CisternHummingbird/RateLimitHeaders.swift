internal import Cistern
internal import Foundation
internal import HTTPTypes
internal import Synchronization

/// Writes the rate limit header fields; it keeps the last text of `X-RateLimit-Reset`, which is costly to format.
final class RateLimitHeaders: Sendable {
    private let last = Mutex((second: Int64.min, text: ""))

    /// Sets the fields of a decision, unless those in place are of a limit with less left.
    func set(_ decision: Decision, madeAt: Date, in headers: inout HTTPFields) {
        if decision.isAllowed, let present = headers[.rateLimitRemaining].flatMap({ Int($0) }),
            present <= decision.remaining
        {
            return
        }
        headers[.rateLimitLimit] = decision.limit.capacity.description
        headers[.rateLimitRemaining] = decision.remaining.description
        headers[.rateLimitReset] = text(after: decision.resetAfter, from: madeAt)
    }

    /// The time after a duration in ISO 8601, rounded up to a whole second, so that it is never in the past.
    private func text(after duration: Duration, from start: Date) -> String {
        let second = Int64((max(start + duration / .seconds(1), Date())).timeIntervalSince1970.rounded(.up))
        return last.withLock { last in
            if last.second != second {
                last = (second, Date(timeIntervalSince1970: Double(second)).formatted(.iso8601))
            }
            return last.text
        }
    }
}
