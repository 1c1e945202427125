extension Limit {
    /// `count` tokens a second.
    ///
    /// - Parameters:
    ///   - count: the refill rate, 1 to 10^9 tokens a second.
    ///   - capacity: the burst, 1 to 10^9 tokens; nil for `count`.
    ///   - isShadow: whether the limit only reports the requests that it would deny.
    /// - Throws: ``LimitError``, which names the field, its value and the remedy.
    public static func perSecond(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try per(1, "second", count: count, capacity: capacity, isShadow: isShadow)
    }

    /// `count` tokens a minute: a multiple of 3, because a rate is a whole number of thousandths of a token a second.
    ///
    /// Parameters and errors are those of ``perSecond(_:capacity:isShadow:)``.
    public static func perMinute(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try per(60, "minute", count: count, capacity: capacity, isShadow: isShadow)
    }

    /// `count` tokens an hour: a multiple of 18, because a rate is a whole number of thousandths of a token a second.
    ///
    /// Parameters and errors are those of ``perSecond(_:capacity:isShadow:)``.
    public static func perHour(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try per(3600, "hour", count: count, capacity: capacity, isShadow: isShadow)
    }

    private static func per(
        _ seconds: Int, _ unit: String, count: Int, capacity: Int?, isShadow: Bool
    ) throws(LimitError) -> Limit {
        let (thousandths, overflows) = count.multipliedReportingOverflow(by: 1000)
        guard !overflows, thousandths % seconds == 0 else {
            // The smallest count that gives a whole number of thousandths is seconds / gcd(1000, seconds).
            let step = seconds / greatestCommonDivisor(1000, seconds)
            throw LimitError(
                field: .refillPerSecond, value: "\(count) per \(unit)",
                remedy: overflows ? "use at most 1000000000 tokens a second" : "use a multiple of \(step) per \(unit)")
        }
        return try Limit(
            capacity: capacity ?? count, refillPerSecond: Double(thousandths / seconds) / 1000, isShadow: isShadow)
    }

    private static func greatestCommonDivisor(_ left: Int, _ right: Int) -> Int {
        right == 0 ? left : greatestCommonDivisor(right, left % right)
    }
}
