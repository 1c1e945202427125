internal import Cistern
internal import CisternSimulation

/// Tries lease settings on a workload in simulated worlds that differ in nothing else: each sees the same requests.
struct TuneSearch {
    /// A world that broke a promise, which no settings may.
    struct Broken: Error {
        let lease: LeaseSettings
        let violation: Violation
    }

    let workload: TuneWorkload
    let scale: TuneScale
    let space: LeaseSpace
    let limiter: LimiterSettings
    let seed: UInt64

    /// How many of the front are looked around in the second round.
    private static let centers = 4

    /// All choices that were tried, and what they came to.
    ///
    /// First every horizon; then what lies around the best of these; then around the recommended one.
    ///
    /// - Parameters:
    ///   - besides: choices to try in any case.
    ///   - progress: told how many of about how many have been tried.
    func run(besides: [LeaseSettings], progress: (Int, Int) -> Void) async throws -> [TuneRow] {
        var rows: [TuneRow] = []
        let first = space.first + besides.filter { !space.first.contains($0) }
        let perCentre = space.neighbors(of: space.base).count
        let expected = first.count + (Self.centers + 1) * perCentre
        try await tryOut(first, &rows) { progress($0, expected) }
        for centers in [Self.centers, 1] {
            let tradeOff = tradeOff(rows)
            let recommended = tradeOff.recommended ?? tradeOff.cheapest
            let shown = tradeOff.shown(keeping: recommended.map { [$0] } ?? [])
            let best = shown.sorted { tradeOff.score($0) < tradeOff.score($1) }.filter { $0 != recommended }
            let around = ((recommended.map { [$0] } ?? []) + best).prefix(centers).flatMap {
                space.neighbors(of: $0.lease)
            }
            try await tryOut(around, &rows) { progress(min($0, expected), expected) }
        }
        progress(expected, expected)
        return rows
    }

    /// The choices weighed against each other.
    func tradeOff(_ rows: [TuneRow]) -> TradeOff {
        TradeOff(
            rows: rows, base: rows[0], roundTripMilliseconds: workload.roundTripMilliseconds, budget: workload.budget,
            storeCapacity: TradeOff.nodeCapacity * Double(max(1, workload.nodes)))
    }

    private func tryOut(_ choices: [LeaseSettings], _ rows: inout [TuneRow], progress: (Int) -> Void) async throws {
        let known = rows.map(\.lease)
        let new = choices.reduce(into: [LeaseSettings]()) { if !known.contains($1), !$0.contains($1) { $0.append($1) } }
        let before = rows.count
        // Taken in by their order, so that the output does not depend on which of them was quicker.
        rows += try await withThrowingTaskGroup(of: (Int, TuneRow).self) { group in
            for (index, lease) in new.enumerated() {
                group.addTask { (index, try row(lease)) }
            }
            var found: [(Int, TuneRow)] = []
            for try await row in group {
                found.append(row)
                progress(before + found.count)
            }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private func row(_ lease: LeaseSettings) throws -> TuneRow {
        let outcome = World(try scale.settings(seed: seed, limiter: limiter, lease: lease)).run()
        // That a sizing hoards is a fault of the choice; anything else would be one of the limiter.
        let hoards = outcome.violations.contains { $0.checker == CheckerSet.stranding }
        if let violation = outcome.violations.first, !hoards { throw Broken(lease: lease, violation: violation) }
        return TuneRow(
            lease: lease, storeCallsPerSecond: outcome.storeCallsPerSecond, lostPercent: outcome.lostPercent,
            strandedTokens: outcome.strandedTokens * Double(scale.tokens),
            waitP99Milliseconds: outcome.waitP99Milliseconds, excessPercent: outcome.peakExcessPercent, hoards: hoards)
    }
}
