/// What a lease says to a request, and what it has to ask of the store.
extension Lease {
    /// That tokens held have paid a request, in the few words that a function returns in registers.
    struct Payment: BitwiseCopyable {
        let limit: Limit
        /// What is left, as far as is known here.
        let balanceMicrotokens: Int64

        @inline(__always)
        func decision(at now: Instant) -> Decision {
            .allowed(limit, balanceMicrotokens: balanceMicrotokens, at: now)
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
