internal import Cistern

/// The lease settings that a search tries.
///
/// No choice has a longer lease duration than the base. A server that crashes strands its tokens for that long, and a
/// simulated fleet without faults does not show this cost. So horizons are at most half the base's duration.
struct LeaseSearchSpace: Sendable {
    /// The starting point of the search; settings that are not searched keep its values.
    let base: LeaseSettings
    /// Names of the settings that must not change.
    let kept: Set<String>
    let roundTripMilliseconds: Double

    private static let horizons: [Int64] = [
        25, 50, 100, 150, 250, 350, 500, 700, 1000, 1500, 2500, 5000, 10_000,
    ]
    /// Finer horizons, for the neighbors of a choice.
    private static let steps: [Int64] = [
        20, 25, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 350, 400, 500, 600, 700, 800, 1000, 1200, 1500, 2000,
        2500, 3000, 4000, 5000, 7000, 10_000,
    ]

    /// The first choices: every horizon, each with three prefetch times: the base's, 5 and 10 round trips.
    var first: [LeaseSettings] {
        let horizons = kept.contains("leaseHorizon") ? [base.horizonMilliseconds] : Self.horizons
        return distinct(
            [base]
                + horizons.flatMap { horizon in
                    prefetches(horizon).map { prefetch in
                        var choice = base
                        choice.horizonMilliseconds = horizon
                        choice.prefetchMilliseconds = prefetch
                        return choice
                    }
                })
    }

    private func prefetches(_ horizon: Int64) -> [Int64] {
        if kept.contains("leasePrefetch") { return [base.prefetchMilliseconds] }
        let covering = [5.0, 10].map { Int64((roundTripMilliseconds * $0).rounded(.up)) }
        return ([base.prefetchMilliseconds] + covering).map { min($0, horizon / 2, 5000) }
    }

    /// Choices that differ from `choice` in one setting.
    func neighbors(of choice: LeaseSettings) -> [LeaseSettings] {
        var choices: [LeaseSettings] = []
        func vary<Value>(_ name: String, _ path: WritableKeyPath<LeaseSettings, Value>, _ values: [Value]) {
            guard !kept.contains(name) else { return }
            choices += values.map { value in
                var changed = choice
                changed[keyPath: path] = value
                return changed
            }
        }
        let (horizon, idle) = (choice.horizonMilliseconds, choice.idleMilliseconds)
        vary("leaseMinimum", \.minimumDemandTokens, [2, 5, 10, 20])
        vary("leaseIdle", \.idleMilliseconds, [max(10, idle / 2), min(60_000, idle * 2)])
        vary("leaseAlone", \.soloMultiplier, [1, 2, 4])
        vary(
            "leaseDuration", \.durationMilliseconds,
            [horizon * 4, horizon * 8].map { min(base.durationMilliseconds, max(500, $0)) })
        let next = [Self.steps.last { $0 < horizon }, Self.steps.first { $0 > horizon }].compactMap { $0 }
        vary("leaseHorizon", \.horizonMilliseconds, next)
        return distinct(choices).filter { $0 != choice }
    }

    /// The choices that a server would accept, without duplicates.
    private func distinct(_ choices: [LeaseSettings]) -> [LeaseSettings] {
        choices.reduce(into: []) { if !$0.contains($1), Self.isValid($1) { $0.append($1) } }
    }

    /// Whether a server would accept the settings; `LeaseSettings` itself keeps each value within its range.
    private static func isValid(_ lease: LeaseSettings) -> Bool {
        lease.conflict == nil
    }
}
