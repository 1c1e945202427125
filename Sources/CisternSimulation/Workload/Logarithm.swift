/// Returns the natural logarithm, computed from the value's exponent and a series.
///
/// Math libraries differ in the last digit of a logarithm, and one digit would make worlds of the same seed diverge.
func logarithm(_ value: Double) -> Double {
    precondition(value > 0 && value.isFinite, "the logarithm needs a positive and finite number")
    // value = m · 2^exponent with the significand m from 1 to 2; ln(m) = 2 artanh((m − 1) / (m + 1)).
    let ratio = (value.significand - 1) / (value.significand + 1)
    let square = ratio * ratio
    var (power, sum) = (ratio, 0.0)
    for term in stride(from: 1.0, through: 31, by: 2) {
        sum += power / term
        power *= square
    }
    return 2 * sum + Double(value.exponent) * 0.693_147_180_559_945_3
}

/// Returns e to the power of `value`, computed from powers of two and a series.
///
/// Like ``logarithm(_:)``, it gives the same result with every library.
func exponential(_ value: Double) -> Double {
    precondition(abs(value) < 700, "the exponent must be between -700 and 700")
    // value = k · ln 2 + rest with the rest at most half of ln 2.
    let logarithmOfTwo = 0.693_147_180_559_945_3
    let power = (value / logarithmOfTwo).rounded()
    let rest = value - power * logarithmOfTwo
    var (term, sum) = (1.0, 1.0)
    for divisor in stride(from: 1.0, through: 18, by: 1) {
        term *= rest / divisor
        sum += term
    }
    return Double(sign: .plus, exponent: Int(power), significand: sum)
}
