/// The natural logarithm, computed from the number's own exponent and a series.
///
/// The system's differs in the last digit between libraries, and one digit would make two worlds of one seed.
func logarithm(_ value: Double) -> Double {
    precondition(value > 0 && value.isFinite, "the logarithm of a positive number")
    // value = significand · 2^exponent with the significand from 1 to 2; ln(m) = 2 artanh((m − 1) / (m + 1)).
    let ratio = (value.significand - 1) / (value.significand + 1)
    let square = ratio * ratio
    var (power, sum) = (ratio, 0.0)
    for term in stride(from: 1.0, through: 31, by: 2) {
        sum += power / term
        power *= square
    }
    return 2 * sum + Double(value.exponent) * 0.693_147_180_559_945_3
}

/// e to the power of a number, from powers of two and a series: the same with every library, as the logarithm is.
func exponential(_ value: Double) -> Double {
    precondition(abs(value) < 700, "a power that can be written")
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
