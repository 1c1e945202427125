/// What a lease has to ask of the store.
extension Lease {
    /// How much to ask for; the request that carries it must be sent.
    struct Report: Equatable {
        var held: Int
        var unspentMilliseconds: Int64
        var halfSpentTokens = 0
        var halfSpentMilliseconds: Int64 = 0
        var returned = 0
        var requested = RequestedLease.none
    }
}
