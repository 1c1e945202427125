/// How much to lease, and for how long.
public struct LeaseSettings: Sendable, Equatable {
    /// How long a lease lasts, in milliseconds.
    ///
    /// Longer: a server that falls silent strands its tokens for longer. Shorter: an organisation that pauses loses the
    /// tokens it had leased sooner. 100 to 60,000.
    public var durationMilliseconds: Int64 = 2000
    /// How much demand one lease is to cover, in milliseconds.
    ///
    /// Longer: fewer store calls, more tokens held by servers that may not need them. 10 to 10,000, and at most half
    /// the duration.
    public var horizonMilliseconds: Int64 = 250
    /// Where demand over the horizon is below this many tokens, nothing is leased ahead: each shortage asks for just
    /// what it needs.
    public var minimumTokens = 8
    /// How much faster or slower than the store's clock this server's may run, in thousandths.
    ///
    /// The lessee lets its lease lapse earlier by this share.
    public var clockDriftPerMille: Int64 = 20
    /// How long one request waits for the store before the failure policy decides, in milliseconds.
    public var timeoutMilliseconds: Int64 = 100

    /// The settings that suit most services.
    public init() {}

    /// When a lease asked for at `sentAt` lapses at the lessee: before it can lapse at the store.
    func expiry(sentAt: Instant) -> Instant {
        sentAt.advanced(byMilliseconds: durationMilliseconds - durationMilliseconds * clockDriftPerMille / 1000)
    }

    /// How many milliseconds have surely passed on the store's clock between two instants of this server's.
    func certainMilliseconds(from start: Instant, to end: Instant) -> Int64 {
        let elapsed = max(0, end.milliseconds - start.milliseconds)
        // Rounding each instant down to its millisecond may have added one; no bound is needed beyond a day.
        return max(0, min(elapsed, 86_400_000) * (1000 - clockDriftPerMille) / 1000 - 1)
    }
}
