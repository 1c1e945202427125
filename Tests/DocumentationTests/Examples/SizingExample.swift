// The examples of the article Sizing.
import Cistern

/// The figures that tell whether the settings suit the load.
func describeLeases(of limiter: RateLimiter) -> String {
    let statistics = limiter.statistics
    let (decisions, tokens) = (statistics.decisions, statistics.leaseTokens)
    func percent(_ part: UInt64, of whole: UInt64) -> String { whole == 0 ? "-" : "\(part * 100 / whole) %" }
    return """
        decisions that waited: \(percent(decisions.waited, of: decisions.total))
        average wait: \(statistics.waitTime / max(1, decisions.waited))
        store calls per 1000 decisions: \(statistics.storeCalls * 1000 / max(1, decisions.total))
        store calls that failed: \(percent(statistics.storeFailures, of: statistics.storeCalls))
        leased tokens returned: \(percent(tokens.returned, of: tokens.granted))
        leased tokens expired: \(percent(tokens.expired, of: tokens.granted))
        keys in memory: \(statistics.cachedBuckets), evicted so far: \(statistics.evictions)
        """
}

/// Settings for a store in another region, with round trips of 40 ms and, at worst, 100 ms.
func makeDistantStoreSettings() -> LimiterSettings {
    var settings = LimiterSettings()
    settings.lease.timeout = .milliseconds(200)
    settings.lease.horizon = .milliseconds(500)
    settings.lease.prefetch = .milliseconds(50)
    return settings
}
