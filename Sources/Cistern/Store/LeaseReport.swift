/// What a request reports about the lessee's own record: a report can lower the record, never raise it.
struct LeaseReport {
    /// Tokens of the record that the lessee still holds.
    private(set) var held = 0
    /// Tokens that go back to the balance.
    private(set) var credit = 0
    /// Tokens spent or lost, in up to two parts, each with the time at which it was spent or lost.
    private(set) var spent: [(tokens: Int, moment: Int64)] = []

    /// The report of a lessee without a record.
    init() {}

    /// Compares a request with the record that the store has of its lessee.
    init(_ own: StoreBucket.Record, in request: LeaseRequest, now: Int64) {
        let quiet = now - request.millisecondsSinceLastSpend
        guard own.endsMilliseconds > now else {
            let moment = request.held > 0 ? own.endsMilliseconds : min(quiet, own.endsMilliseconds)
            spent = [(own.tokens, moment)]
            return
        }
        let unacknowledged = own.sequence > request.acknowledged ? own.unacknowledged : 0
        held = min(own.tokens, request.held)
        credit = min(request.returned + unacknowledged, own.tokens - held)
        let spentTokens = own.tokens - held - credit
        let early = min(request.halfSpentTokens, spentTokens)
        let parts = [(early, min(quiet, now - request.halfSpentMilliseconds)), (spentTokens - early, quiet)]
        spent = parts.filter { $0.0 > 0 }
    }
}
