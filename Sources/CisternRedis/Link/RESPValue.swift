internal import Cistern
internal import CisternCluster

/// One value of the Redis protocol (RESP2).
package enum RESPValue: Equatable, Sendable {
    case string([UInt8])
    case integer(Int64)
    case array([RESPValue])
    case null
    case error(String)
}

/// One reply, in which that of the lease script takes no memory of its own.
enum RESPReply {
    typealias Numbers = InlineArray<9, Int64>

    /// An array of seven integers, as the lease script answers.
    case numbers(Numbers)
    /// Any other.
    case value(RESPValue)

    /// As a value like any other.
    var value: RESPValue {
        switch self {
        case .numbers(let numbers): .array(numbers.indices.map { .integer(numbers[$0]) })
        case .value(let value): value
        }
    }
}

extension RESPValue {
    /// A time on a store's clock, in milliseconds since 1970; nil for anything else, and beyond the year 9999.
    ///
    /// Arithmetic on such times cannot overflow.
    var storeMilliseconds: Int64? {
        guard case .integer(let number) = self, LimitOverrides.times ~= number else { return nil }
        return number
    }
}
