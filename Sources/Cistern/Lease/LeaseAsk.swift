/// What a lease has to ask of the store.
extension Lease {
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
