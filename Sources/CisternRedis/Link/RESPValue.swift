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

/// One reply; the lease script's reply is stored inline, without heap allocation.
enum RESPReply {
    typealias Numbers = InlineArray<10, Int64>

    /// An array of nine integers, as the lease script returns.
    case numbers(Numbers)
    /// Any other reply.
    case value(RESPValue)

    /// The reply as a `RESPValue`.
    var value: RESPValue {
        switch self {
        case .numbers(let numbers): .array(numbers.indices.map { .integer(numbers[$0]) })
        case .value(let value): value
        }
    }
}

extension RESPValue {
    /// A time on a store's clock, in milliseconds since 1970; nil for any other value and after the year 9999.
    ///
    /// The range ensures that arithmetic on these times cannot overflow.
    var storeMilliseconds: Int64? {
        guard case .integer(let number) = self, LimitOverrides.times ~= number else { return nil }
        return number
    }
}
