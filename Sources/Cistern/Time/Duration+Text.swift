extension Duration {
    /// Parses a duration with its unit (`250ms`, `2s`, `1m`, `1h`) into milliseconds; nil if it is not one.
    package static func wholeMilliseconds(in text: String) -> Int64? {
        let units: [(suffix: String, milliseconds: Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
        guard let unit = units.first(where: { text.hasSuffix($0.suffix) }),
            let number = Int64(text.dropLast(unit.suffix.count)), number >= 0
        else { return nil }
        let (product, overflows) = number.multipliedReportingOverflow(by: unit.milliseconds)
        return overflows ? nil : product
    }
}
