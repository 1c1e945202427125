package import Cistern

/// The lease of one server's local fraction of all limits: a state machine without IO.
///
/// The store grants fractions that add up to at most the whole and expire unless renewed. If the node is lost, the
/// server keeps its fraction until the node is back: a store that is gone grants it to no other server. Each request
/// reports the fraction that the server holds, because the store may lower its record only after the server has taken
/// in the smaller fraction.
package struct FractionLease: Sendable {
    /// How long the store keeps a fraction without a renewal, in milliseconds.
    package static let durationMilliseconds: Int64 = 3000
    /// The interval between renewals, in milliseconds.
    package static let renewalMilliseconds: Int64 = 1000

    /// The fraction that the store granted, in millionths.
    private var millionths: Int64 = 0
    private var expiresAt = Instant(nanoseconds: 0)
    /// The fraction held when the node was lost; nil while the node is in use.
    private var fractionAtLoss: LocalFraction?
    private var sequence: UInt64 = 0

    package init() {}

    /// The fraction held, in millionths.
    ///
    /// While the node is lost, it is the one held when the node was lost.
    package func held(now: Instant) -> Int64 {
        fractionAtLoss?.millionths ?? (now < expiresAt ? millionths : 0)
    }

    /// A server's request for its fraction.
    package struct Request: Sendable, Equatable {
        /// The fraction that the server holds, in millionths.
        package let held: Int64
        /// Increases with each request, so that a request that arrives late changes nothing.
        package let sequence: UInt64

        package init(held: Int64, sequence: UInt64) {
            self.held = held
            self.sequence = sequence
        }
    }

    /// Creates the next request.
    package mutating func nextRequest(now: Instant) -> Request {
        sequence += 1
        return Request(held: held(now: now), sequence: sequence)
    }

    /// Takes in a fraction granted by the store.
    ///
    /// - Parameter sentAt: when the request was sent. The fraction expires ``durationMilliseconds`` later, less the
    ///   margin for clock drift.
    package mutating func grant(_ millionths: Int64, sentAt: Instant, clockDriftPerMille: Int64) {
        self.millionths = min(max(0, millionths), 1_000_000)
        expiresAt = sentAt.advanced(
            byMilliseconds: Self.durationMilliseconds, lessDriftPerMille: clockDriftPerMille)
    }

    /// Records that the node is unreachable from now on.
    package mutating func markNodeLost(now: Instant) {
        guard fractionAtLoss == nil else { return }
        fractionAtLoss = LocalFraction(millionths: held(now: now), lostAt: now)
    }

    /// Records that the node is in use again.
    package mutating func markNodeRecovered() {
        fractionAtLoss = nil
    }

    /// The fraction to use while the node is unreachable; nil if none is known, or while the node is in use.
    package var localFraction: LocalFraction? {
        fractionAtLoss.flatMap { $0.millionths > 0 ? $0 : nil }
    }
}
