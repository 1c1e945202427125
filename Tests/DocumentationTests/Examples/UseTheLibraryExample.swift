// The examples of the article UseTheLibrary, except those that need further modules.
import Cistern
import CisternRedis

func makeUploadLimiter(redis url: String) throws -> RateLimiter {
    try RateLimiter(limit: .perSecond(10, capacity: 100), store: .redis(url), namespace: "uploads")
}

func answerUpload(of customer: String, megabytes: Int, by limiter: RateLimiter) async -> String {
    do {
        let decision = try await limiter.acquire(customer, cost: megabytes)
        switch decision.outcome {
        case .allowed: return "200, \(decision.remaining) megabytes left"
        case .unmetered: return "200"
        case .denied:
            guard let wait = decision.retryAfter else { return "413, at most \(decision.limit.capacity) megabytes" }
            return "429, retry in \(wait)"
        case .refused: return "503, retry in \(decision.retryAfter ?? .seconds(1))"
        }
    } catch {
        return "503, \(error)"
    }
}

func admitsUploadNow(of customer: String, by limiter: RateLimiter) throws(AcquireError) -> Bool? {
    try limiter.tryAcquire(customer)?.isAllowed
}

func makeTieredLimiter(redis url: String) throws -> RateLimiter {
    let standard = try Limit.perMinute(60, capacity: 20)
    let paying = try Limit.perSecond(50, capacity: 500)
    let trial = try Limit.perHour(36, capacity: 10, isShadow: true)
    let limits = Limits(standard: standard, byKey: ["acme": paying, "newcomer": trial])
    return try RateLimiter(limits: limits, store: .redis(url), namespace: "api")
}

func applyLimits(_ limitsByKey: [String: Limit], standard: Limit, to limiter: RateLimiter) {
    limiter.changeLimits { _ in Limits(standard: standard, byKey: limitsByKey) }
}

func makeStrictSettings() -> LimiterSettings {
    var settings = LimiterSettings()
    settings.failurePolicy = .closed
    settings.maximumNewKeysPerSecond = 1000
    settings.lease.timeout = .milliseconds(50)
    return settings
}
