internal import Cistern
internal import Foundation

/// The simulated results of one choice of lease settings.
struct TuneRow: Sendable, Equatable {
    var lease: LeaseSettings
    var storeCallsPerSecond: Double
    var underAdmissionPercent: Double
    var strandedTokens: Double
    var waitP99Milliseconds: Double
    var overAdmissionPercent: Double
    /// Whether more tokens were stranded than the simulation's stranding checker allows.
    var isStranding = false
}

/// Selects the choices worth showing, and the recommended one.
///
/// It weighs three figures against each other: store calls, lost requests (under-admission), and wait time.
struct TradeOff {
    /// The price of halving the store calls, in percent of requests lost; a round trip of p99 wait has the same price.
    static let halvingPrice = 0.5
    /// Scores within this distance count as equal, because they vary this much between seeds.
    static let sameScore = 0.1
    /// Losses within this distance count as equal, in percentage points.
    static let sameLoss = 0.05

    let rows: [TuneRow]
    /// The row of the current settings, before tuning.
    let base: TuneRow
    let roundTripMilliseconds: Double
    let budget: Double?
    /// Store calls a second that the nodes can handle; calls below a tenth of it count as free.
    let storeCapacity: Double

    /// A lower bound of the lease requests a second that one Redis node handles, as measured by `perf tiers`.
    static let nodeCapacity = 50_000.0

    /// The Pareto front: the rows that no other row dominates in store calls, loss and wait time.
    var paretoFront: [TuneRow] {
        let sound = rows.filter { !$0.isStranding }
        return sound.enumerated().filter { entry in
            !sound.enumerated().contains { other in
                let isBetter = dominates(other.element, entry.element)
                // Of equal rows, the first stays.
                return isBetter || other.offset < entry.offset && isEqual(other.element, entry.element)
            }
        }.map(\.element)
    }

    private func figures(_ row: TuneRow) -> [Double] {
        [row.storeCallsPerSecond, row.underAdmissionPercent, row.waitP99Milliseconds]
    }

    private func isEqual(_ one: TuneRow, _ other: TuneRow) -> Bool { figures(one) == figures(other) }

    private func dominates(_ one: TuneRow, _ other: TuneRow) -> Bool {
        !isEqual(one, other) && zip(figures(one), figures(other)).allSatisfy { $0 <= $1 }
    }

    /// The total cost of a row, in percent of the requests.
    ///
    /// It is the sum of the loss, half a percent for each doubling of store calls, and half a percent for each round
    /// trip of p99 wait.
    func score(_ row: TuneRow) -> Double {
        row.underAdmissionPercent + Self.halvingPrice * log2(max(row.storeCallsPerSecond, 0.01))
            + Self.halvingPrice * row.waitP99Milliseconds / roundTripMilliseconds
    }

    /// The recommended row; nil if no row is within the budget.
    ///
    /// With a ``bound`` on store calls it has the least loss; without one, it is the knee of the Pareto front.
    /// Current settings within ``sameScore`` of the best are kept; else the fewest settings change.
    var recommended: TuneRow? {
        let paretoFront = paretoFront
        var candidates = paretoFront.contains(base) || base.isStranding ? paretoFront : paretoFront + [base]
        if let bound {
            candidates = candidates.filter { $0.storeCallsPerSecond <= bound }
            let least = candidates.map(\.underAdmissionPercent).min() ?? 0
            candidates = candidates.filter { $0.underAdmissionPercent <= least + Self.sameLoss }
        }
        guard let best = candidates.map(score).min() else { return nil }
        if candidates.contains(base), score(base) <= best + Self.sameScore { return base }
        return candidates.filter { score($0) <= best + Self.sameScore / 2 }
            .min { (changes($0), score($0)) < (changes($1), score($1)) }
    }

    /// The upper bound of store calls a second for a recommended row; nil for none.
    ///
    /// It is the budget; without one, a tenth of the store's capacity if any row stays below that.
    private var bound: Double? {
        budget ?? (isStoreIdle ? storeCapacity / 10 : nil)
    }

    /// Whether no budget is given and some choices leave the store at least 90 % idle.
    var isStoreIdle: Bool {
        budget == nil && (rows + [base]).contains { !$0.isStranding && $0.storeCallsPerSecond <= storeCapacity / 10 }
    }

    /// How many settings differ from the current ones.
    private func changes(_ row: TuneRow) -> Int {
        let (new, old) = (row.lease, base.lease)
        return [
            new.horizonMilliseconds != old.horizonMilliseconds, new.durationMilliseconds != old.durationMilliseconds,
            new.prefetchMilliseconds != old.prefetchMilliseconds, new.minimumDemandTokens != old.minimumDemandTokens,
            new.idleMilliseconds != old.idleMilliseconds, new.soloMultiplier != old.soloMultiplier,
        ].count { $0 }
    }

    /// The row with the fewest store calls.
    var cheapest: TuneRow? { paretoFront.min { $0.storeCallsPerSecond < $1.storeCallsPerSecond } }

    /// The maximum number of rows shown, besides those that are always shown.
    private static let maximumRowsShown = 10

    /// The Pareto front without near-duplicates, in ascending order of store calls.
    ///
    /// Near-duplicates differ by at most 5 % in store calls, 0.05 percentage points in loss, and a tenth of a round
    /// trip in wait. These distances double until few enough rows remain.
    ///
    /// - Parameter kept: rows that are shown in any case.
    func shown(keeping kept: [TuneRow]) -> [TuneRow] {
        var width = 1.0
        while true {
            var shown = kept
            for row in paretoFront.sorted(by: { score($0) < score($1) })
            where !shown.contains(where: { isClose($0, row, width) }) {
                shown.append(row)
            }
            if shown.count <= kept.count + Self.maximumRowsShown {
                return shown.sorted { $0.storeCallsPerSecond < $1.storeCallsPerSecond }
            }
            width *= 2
        }
    }

    private func isClose(_ one: TuneRow, _ other: TuneRow, _ width: Double) -> Bool {
        let calls = (one.storeCallsPerSecond, other.storeCallsPerSecond)
        return abs(calls.0 - calls.1) <= width * 0.05 * max(calls.0, calls.1)
            && abs(one.underAdmissionPercent - other.underAdmissionPercent) <= width * Self.sameLoss
            && abs(one.waitP99Milliseconds - other.waitP99Milliseconds) <= width * 0.1 * roundTripMilliseconds
    }
}
