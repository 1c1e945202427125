extension Limit {
    /// Reads a limit as files, flags and configurations write it.
    ///
    /// - Parameters:
    ///   - capacity: a whole number; nil for the capacity of `standard`.
    ///   - refill: a text such as `600/m`; nil for the refill of `standard`.
    ///   - refillPerSecond: a number of tokens a second in place of `refill`; nil for none.
    /// - Throws: ``LimitError``, which names the field, its value and the remedy.
    package init(
        capacity: String?, refill: String?, refillPerSecond: String?, isShadow: Bool = false, standard: Limit
    ) throws(LimitError) {
        guard let tokens = capacity.map({ Int($0) }) ?? standard.capacity else {
            throw LimitError(field: .capacity, value: capacity ?? "", remedy: "use a whole number of tokens")
        }
        if let refillPerSecond {
            guard refill == nil else {
                throw LimitError(
                    field: .refill, value: refill ?? "", remedy: "leave out either refill or refillPerSecond")
            }
            guard let rate = Double(refillPerSecond) else {
                throw LimitError(
                    field: .refillPerSecond, value: refillPerSecond, remedy: "use a number of tokens a second")
            }
            try self.init(capacity: tokens, refillPerSecond: rate, isShadow: isShadow)
        } else {
            guard let rate = refill.map({ Refill($0) }) ?? standard.refill else {
                throw LimitError(
                    field: .refill, value: refill ?? "",
                    remedy: "use whole tokens per period, such as 10/s, 600/m, 5/h, 1000/d or 3/250ms")
            }
            try self.init(capacity: tokens, refill: rate, isShadow: isShadow)
        }
    }
}
