/// What a lease says to a request, and what it has to ask of the store.
extension Lease {
    /// What memory says to a request, in the few words that a function returns in registers.
    struct Answer: BitwiseCopyable {
        enum Kind: UInt8, BitwiseCopyable {
            /// Tokens held have paid.
            case paid
            /// They have, and it is time to ask for more.
            case paidRunningDry
            /// They cannot.
            case unpaid
        }

        let limit: Limit
        var kind: Kind
        let balanceMicrotokens: Int64
        /// The instant that it has become: no earlier than one seen before.
        let at: Instant

        /// That the tokens held do not suffice.
        @inline(__always)
        static func unpaid(_ limit: Limit, at now: Instant) -> Answer {
            Answer(limit: limit, kind: .unpaid, balanceMicrotokens: 0, at: now)
        }
    }

    /// How much to ask for; the request that carries it must be sent.
    struct Ask: Equatable {
        var held: Int
        var quietMilliseconds: Int64
        var earlySpent = 0
        var earlyMilliseconds: Int64 = 0
        var returned = 0
        var wish = LeaseWish.none
    }
}
