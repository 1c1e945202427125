extension Limit {
    /// `count` tokens a second.
    ///
    /// - Parameters:
    ///   - count: the refill, 1 to 10^9 tokens a second.
    ///   - capacity: the burst, 0 to 10^9 tokens; nil for `count`.
    ///   - isShadow: whether the limit only reports the requests that it would deny.
    /// - Throws: ``LimitError``, which names the field, its value and the remedy.
    public static func perSecond(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try Limit(capacity: capacity ?? count, refill: .perSecond(count), isShadow: isShadow)
    }

    /// `count` tokens a minute; parameters and errors are those of ``perSecond(_:capacity:isShadow:)``.
    public static func perMinute(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try Limit(capacity: capacity ?? count, refill: .perMinute(count), isShadow: isShadow)
    }

    /// `count` tokens an hour; parameters and errors are those of ``perSecond(_:capacity:isShadow:)``.
    public static func perHour(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try Limit(capacity: capacity ?? count, refill: .perHour(count), isShadow: isShadow)
    }

    /// `count` tokens per 24 hours; parameters and errors are those of ``perSecond(_:capacity:isShadow:)``.
    public static func perDay(
        _ count: Int, capacity: Int? = nil, isShadow: Bool = false
    ) throws(LimitError) -> Limit {
        try Limit(capacity: capacity ?? count, refill: .perDay(count), isShadow: isShadow)
    }
}
