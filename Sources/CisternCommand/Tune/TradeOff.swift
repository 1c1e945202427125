internal import Cistern
internal import Foundation

/// What one choice of lease settings came to.
struct TuneRow: Sendable, Equatable {
    var lease: LeaseSettings
    var storeCallsPerSecond: Double
    var lostPercent: Double
    var strandedTokens: Double
    var waitP99Milliseconds: Double
    var excessPercent: Double
    /// Whether it kept so many tokens from those who needed them that the simulation's own bound was passed.
    var hoards = false
}

/// Which of many choices are worth looking at, and which is recommended.
///
/// Three figures are weighed against each other: store calls, what is lost, and how long requests wait.
struct TradeOff {
    /// What half as many store calls may cost, in percent of the requests lost; a wait (p99) of a round trip counts as
    /// much.
    static let priceOfHalf = 0.5
    /// Scores that are no further apart are the same: so far they move from one seed to the next.
    static let sameScore = 0.1
    /// Losses that are no further apart are the same, in percent.
    static let sameLoss = 0.05

    let rows: [TuneRow]
    /// What holds without tuning.
    let base: TuneRow
    let roundTripMilliseconds: Double
    let budget: Double?
    /// Store calls a second that the nodes could carry; less than a tenth of it costs nobody anything.
    let storeCapacity: Double

    /// What one Redis node carries at least, in lease requests a second; `perf tiers` measures it.
    static let nodeCapacity = 50_000.0

    /// Those that no other is better than: none has as few store calls, as little lost and as short a wait, and one of
    /// them less.
    var front: [TuneRow] {
        let sound = rows.filter { !$0.hoards }
        return sound.enumerated().filter { entry in
            !sound.enumerated().contains { other in
                let isBetter = dominates(other.element, entry.element)
                // Of equals the first stays.
                return isBetter || other.offset < entry.offset && isEqual(other.element, entry.element)
            }
        }.map(\.element)
    }

    private func figures(_ row: TuneRow) -> [Double] {
        [row.storeCallsPerSecond, row.lostPercent, row.waitP99Milliseconds]
    }

    private func isEqual(_ one: TuneRow, _ other: TuneRow) -> Bool { figures(one) == figures(other) }

    private func dominates(_ one: TuneRow, _ other: TuneRow) -> Bool {
        !isEqual(one, other) && zip(figures(one), figures(other)).allSatisfy { $0 <= $1 }
    }

    /// What a choice costs altogether, in percent of the requests: what it loses, half a percent for each doubling of
    /// store calls, and half a percent for a wait of a round trip.
    func score(_ row: TuneRow) -> Double {
        row.lostPercent + Self.priceOfHalf * log2(max(row.storeCallsPerSecond, 0.01))
            + Self.priceOfHalf * row.waitP99Milliseconds / roundTripMilliseconds
    }

    /// Within a budget, or a tenth of what the store can carry, the one that loses least; else the knee of the front.
    ///
    /// The knee is the lowest score: there the next half of the store calls would cost more than it saves. Within a
    /// bound the lowest score is taken of those that lose as little as any.
    ///
    /// What makes no difference stays: where what holds already scores the same, it is that, and of others whose scores are
    /// half as close, the one that changes the fewest settings.
    ///
    /// - Returns: nil where nothing is within the budget.
    var recommended: TuneRow? {
        let front = front
        var candidates = front.contains(base) || base.hoards ? front : front + [base]
        if let bound {
            candidates = candidates.filter { $0.storeCallsPerSecond <= bound }
            let least = candidates.map(\.lostPercent).min() ?? 0
            candidates = candidates.filter { $0.lostPercent <= least + Self.sameLoss }
        }
        guard let best = candidates.map(score).min() else { return nil }
        if candidates.contains(base), score(base) <= best + Self.sameScore { return base }
        return candidates.filter { score($0) <= best + Self.sameScore / 2 }
            .min { (changes($0), score($0)) < (changes($1), score($1)) }
    }

    /// The most store calls a second that are looked at; nil for any number.
    private var bound: Double? {
        budget ?? (isStoreIdle ? storeCapacity / 10 : nil)
    }

    /// Whether there are choices that leave the store nine tenths idle, and no budget says otherwise.
    var isStoreIdle: Bool {
        budget == nil && (rows + [base]).contains { !$0.hoards && $0.storeCallsPerSecond <= storeCapacity / 10 }
    }

    /// How many settings differ from those that hold already.
    private func changes(_ row: TuneRow) -> Int {
        let (new, old) = (row.lease, base.lease)
        return [
            new.horizonMilliseconds != old.horizonMilliseconds, new.durationMilliseconds != old.durationMilliseconds,
            new.prefetchMilliseconds != old.prefetchMilliseconds, new.minimumTokens != old.minimumTokens,
            new.idleMilliseconds != old.idleMilliseconds, new.soloMultiplier != old.soloMultiplier,
        ].count { $0 }
    }

    /// The one with the fewest store calls.
    var cheapest: TuneRow? { front.min { $0.storeCallsPerSecond < $1.storeCallsPerSecond } }

    /// How many rows are shown at most, beside those that are shown in any case.
    private static let mostShown = 10

    /// The front without those that all but equal another of it, from few store calls to many.
    ///
    /// All but equal are those within a twentieth of the store calls, a twentieth of a percent of what is lost, and a tenth
    /// of a round trip; and where that leaves too many to look at, within twice as much, and so on.
    func shown(keeping kept: [TuneRow]) -> [TuneRow] {
        var width = 1.0
        while true {
            var shown = kept
            for row in front.sorted(by: { score($0) < score($1) })
            where !shown.contains(where: { isClose($0, row, width) }) {
                shown.append(row)
            }
            if shown.count <= kept.count + Self.mostShown {
                return shown.sorted { $0.storeCallsPerSecond < $1.storeCallsPerSecond }
            }
            width *= 2
        }
    }

    private func isClose(_ one: TuneRow, _ other: TuneRow, _ width: Double) -> Bool {
        let calls = (one.storeCallsPerSecond, other.storeCallsPerSecond)
        return abs(calls.0 - calls.1) <= width * 0.05 * max(calls.0, calls.1)
            && abs(one.lostPercent - other.lostPercent) <= width * Self.sameLoss
            && abs(one.waitP99Milliseconds - other.waitP99Milliseconds) <= width * 0.1 * roundTripMilliseconds
    }
}
