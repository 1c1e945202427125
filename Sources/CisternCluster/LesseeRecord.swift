/// One server's lease of a bucket, as the store has it on record; also its JSON in the admin API and `cistern inspect`.
package struct LesseeRecord: Codable, Sendable, Equatable {
    /// The lessee ID.
    package let name: String
    /// Whether the lessee is the server that answers; nil outside the admin API.
    package var isThisServer: Bool?
    /// Tokens on record, spent or not.
    package let tokens: Int
    /// When the record expires, in milliseconds from now on the store's clock.
    package let endsInMilliseconds: Int64
    package let demandPerSecond: Double
    /// The rate of the running trickle grant in tokens a second; 0 for none.
    package let tricklePerSecond: Double
    /// How long ago the lessee's last request was, in milliseconds.
    package let askedMillisecondsAgo: Int64

    package init(
        name: String, tokens: Int, endsInMilliseconds: Int64, demandPerSecond: Double, tricklePerSecond: Double,
        askedMillisecondsAgo: Int64
    ) {
        self.name = name
        self.tokens = tokens
        self.endsInMilliseconds = endsInMilliseconds
        self.demandPerSecond = demandPerSecond
        self.tricklePerSecond = tricklePerSecond
        self.askedMillisecondsAgo = askedMillisecondsAgo
    }
}
