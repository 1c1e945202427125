package import Cistern

/// The part of all limits that a store lets one server have to itself: a state machine without IO.
///
/// The store grants it in parts that add up to the whole at most and that lapse unless they are renewed, like leases. The
/// one that holds when the node is lost is kept until the node is back: a store that is gone grants it to nobody else.
/// The server asks again and again, and says each time what it has, since the store may lower what it has on record only
/// once the server knows.
package struct FractionLease: Sendable {
    /// How long a part lasts at the store, in milliseconds.
    package static let durationMilliseconds: Int64 = 3000
    /// How often to ask, in milliseconds.
    package static let renewalMilliseconds: Int64 = 1000

    /// What the store has granted, in millionths.
    private var millionths: Int64 = 0
    private var expiresAt = Instant(nanoseconds: 0)
    /// What held when the node was lost; nil while it is in use.
    private var frozen: LocalFraction?
    private var sequence: UInt64 = 0

    package init() {}

    /// What this server has, in millionths: the part that holds, or the one that held when the store was lost.
    package func held(now: Instant) -> Int64 {
        frozen?.millionths ?? (now < expiresAt ? millionths : 0)
    }

    /// What a server says when it asks for its part.
    package struct Ask: Sendable, Equatable {
        /// What it has, in millionths.
        package let held: Int64
        /// Counts its requests up, so that one that comes late changes nothing.
        package let sequence: UInt64

        package init(held: Int64, sequence: UInt64) {
            self.held = held
            self.sequence = sequence
        }
    }

    /// What to say in the next request.
    package mutating func ask(now: Instant) -> Ask {
        sequence += 1
        return Ask(held: held(now: now), sequence: sequence)
    }

    /// The store has granted a part.
    ///
    /// - Parameter sentAt: when it was asked; the part is counted from there, and less the margin for drifting clocks.
    package mutating func grant(_ millionths: Int64, sentAt: Instant, clockDriftPerMille: Int64) {
        self.millionths = min(max(0, millionths), 1_000_000)
        expiresAt = sentAt.advanced(
            byMilliseconds: Self.durationMilliseconds, lessDriftPerMille: clockDriftPerMille)
    }

    /// The node is out of reach from now on.
    package mutating func lose(now: Instant) {
        guard frozen == nil else { return }
        frozen = LocalFraction(millionths: held(now: now), lostAt: now)
    }

    /// The node is in use again.
    package mutating func regain() {
        frozen = nil
    }

    /// What to go on with while the node is out of reach; nil where nothing is known, and while it is in use.
    package var localFraction: LocalFraction? {
        frozen.flatMap { $0.millionths > 0 ? $0 : nil }
    }
}
