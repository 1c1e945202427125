internal import Cistern
internal import Foundation
internal import HTTPTypes
internal import Synchronization

/// Writes the rate limit header fields; it keeps the last text of `X-RateLimit-Reset`, which is costly to format.
final class ResetText: Sendable {
    private let last = Mutex((second: Int64.min, text: ""))

    /// Sets the fields of a decision, unless those in place are of a limit with less left.
    func setHeaders(of decision: Decision, in headers: inout HTTPFields) {
        if decision.isAllowed, let present = headers[.rateLimitRemaining].flatMap({ Int($0) }),
            present <= decision.remaining
        {
            return
        }
        headers[.rateLimitLimit] = decision.limit.capacity.description
        headers[.rateLimitRemaining] = decision.remaining.description
        headers[.rateLimitReset] = text(after: decision.resetAfter)
    }

    /// The time after a duration in ISO 8601, rounded up to a whole second, so that it is never in the past.
    private func text(after duration: Duration) -> String {
        let second = Int64((Date().timeIntervalSince1970 + duration / .seconds(1)).rounded(.up))
        return last.withLock { last in
            if last.second != second {
                last = (second, Date(timeIntervalSince1970: Double(second)).formatted(.iso8601))
            }
            return last.text
        }
    }
}
