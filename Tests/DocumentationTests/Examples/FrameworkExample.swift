// The examples of the article OtherFrameworks that need no framework.
import Cistern

/// The part of a response that a limiter decides.
struct LimiterReply {
    /// The status of the response; nil if the request may proceed.
    var status: Int?
    /// Header fields, for requests that proceed as well.
    var fields: [String: String] = [:]
}

/// Asks the limiter, and translates its decision into HTTP.
func limiterReply(to key: String, cost: Int = 1, by limiter: RateLimiter) async -> LimiterReply {
    let decision: Decision
    do {
        decision = try await limiter.acquire(key, cost: cost)
    } catch {
        return LimiterReply(status: statusCode(of: error))
    }
    var fields = [
        "X-RateLimit-Limit": "\(decision.limit.capacity)",
        "X-RateLimit-Remaining": "\(decision.remaining)",
    ]
    if let wait = decision.retryAfter { fields["Retry-After"] = "\(wholeSeconds(in: wait))" }
    switch decision.outcome {
    case .allowed, .unmetered: return LimiterReply(status: nil, fields: fields)
    case .denied: return LimiterReply(status: 429, fields: fields)
    case .refused: return LimiterReply(status: 503, fields: fields)
    }
}

/// The status of a request for which the limiter made no decision.
func statusCode(of error: AcquireError) -> Int {
    switch error {
    case .emptyKey, .keyTooLong: 400
    case .invalidCost, .notRunning, .stopped, .canceled: 503
    }
}

/// A wait in whole seconds, rounded up, as the header field `Retry-After` has it.
func wholeSeconds(in wait: Duration) -> Int {
    max(1, Int((wait / .seconds(1)).rounded(.up)))
}
