public import Cistern

extension RedisSettings {
    /// The numbers, by name, with their ranges; times are in milliseconds.
    private var numbers: [(name: String, value: Int64, range: ClosedRange<Int64>)] {
        [
            ("redisConnectTimeout", connectTimeoutMilliseconds, 10...60_000),
            ("maxStoreRequests", Int64(maximumPendingRequests), 1...1_000_000),
            ("redisFirstRetry", firstRetryMilliseconds, 1...60_000),
            ("redisLongestRetry", longestRetryMilliseconds, 1...600_000),
            ("recoveryRequests", Int64(firstRequestsAfterRecovery), 1...1_000_000),
            ("redisHeartbeat", heartbeatMilliseconds, 10...86_400_000),
        ]
    }

    /// Checks every setting.
    ///
    /// - Throws: `InvalidSetting` for the first value outside its range.
    public func validate() throws(InvalidSetting) {
        for (name, value, range) in numbers where !(range ~= value) {
            let unit = name.hasPrefix("redis") ? "ms" : ""
            throw InvalidSetting(
                name: name, value: "\(value)\(unit)",
                remedy: "use \(range.lowerBound)\(unit) to \(range.upperBound)\(unit)")
        }
    }
}
