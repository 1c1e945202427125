internal import Cistern
internal import CisternSimulation

/// Searches lease settings for a workload in simulated worlds that all see the same requests.
struct TuneSearch {
    /// A simulated world violated an invariant, which is a defect of the limiter and not of the settings.
    struct ViolationError: Error {
        let lease: LeaseSettings
        let violation: Violation
    }

    let workload: TuneWorkload
    let scale: TuneScale
    let space: LeaseSearchSpace
    let limiter: LimiterSettings
    let seed: UInt64

    /// How many rows have their neighbors tried in the second round.
    private static let centers = 4

    /// Tries choices, and returns all of them with their results.
    ///
    /// It tries every horizon first, then the neighbors of the best choices, then those of the recommended choice.
    ///
    /// - Parameters:
    ///   - besides: choices to try in any case.
    ///   - progress: called with the number of choices tried and the approximate total.
    func run(besides: [LeaseSettings], progress: (Int, Int) -> Void) async throws -> [TuneRow] {
        var rows: [TuneRow] = []
        let first = space.first + besides.filter { !space.first.contains($0) }
        let neighborsPerCenter = space.neighbors(of: space.base).count
        let expected = first.count + (Self.centers + 1) * neighborsPerCenter
        try await evaluate(first, &rows) { progress($0, expected) }
        for centers in [Self.centers, 1] {
            let tradeOff = tradeOff(rows)
            let recommended = tradeOff.recommended ?? tradeOff.cheapest
            let shown = tradeOff.shown(keeping: recommended.map { [$0] } ?? [])
            let best = shown.sorted { tradeOff.score($0) < tradeOff.score($1) }.filter { $0 != recommended }
            let around = ((recommended.map { [$0] } ?? []) + best).prefix(centers).flatMap {
                space.neighbors(of: $0.lease)
            }
            try await evaluate(around, &rows) { progress(min($0, expected), expected) }
        }
        progress(expected, expected)
        return rows
    }

    /// Weighs the choices against each other.
    func tradeOff(_ rows: [TuneRow]) -> TradeOff {
        TradeOff(
            rows: rows, base: rows[0], roundTripMilliseconds: workload.roundTripMilliseconds, budget: workload.budget,
            storeCapacity: TradeOff.nodeCapacity * Double(max(1, workload.nodes)))
    }

    private func evaluate(_ choices: [LeaseSettings], _ rows: inout [TuneRow], progress: (Int) -> Void) async throws {
        let known = rows.map(\.lease)
        let new = choices.reduce(into: [LeaseSettings]()) { if !known.contains($1), !$0.contains($1) { $0.append($1) } }
        let before = rows.count
        // Sorted by index, so that timing does not change the output.
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
        // Stranding is a fault of the chosen settings; any other violation is a defect of the limiter.
        let isStranding = outcome.violations.contains { $0.checker == CheckerSet.stranding }
        if let violation = outcome.violations.first, !isStranding {
            throw ViolationError(lease: lease, violation: violation)
        }
        return TuneRow(
            lease: lease, storeCallsPerSecond: outcome.storeCallsPerSecond,
            underAdmissionPercent: outcome.underAdmissionPercent,
            strandedTokens: outcome.strandedTokens * Double(scale.tokens),
            waitP99Milliseconds: outcome.waitP99Milliseconds, overAdmissionPercent: outcome.peakOverAdmissionPercent,
            isStranding: isStranding)
    }
}
