extension Duration {
    /// Whole milliseconds, rounded toward zero; beyond the range of `Int64`, the nearest number inside.
    package var wholeMilliseconds: Int64 { whole(unitsPerSecond: 1000) }

    /// Whole nanoseconds, rounded toward zero; beyond the range of `Int64`, the nearest number inside.
    package var wholeNanoseconds: Int64 { whole(unitsPerSecond: 1_000_000_000) }

    private func whole(unitsPerSecond units: Int64) -> Int64 {
        let (seconds, attoseconds) = components
        let (product, overflows) = seconds.multipliedReportingOverflow(by: units)
        let (sum, exceeds) = product.addingReportingOverflow(attoseconds / (1_000_000_000_000_000_000 / units))
        return overflows || exceeds ? (seconds < 0 ? .min : .max) : sum
    }
}
