internal import Cistern

/// Bounds the effects of a step of a store's clock.
///
/// A step back allows no over-admission. Each step forward allows at most C plus the rest of running trickle grants.
/// After a step, a key is denied everything for no longer than a lease.
///
/// A step forward may raise the balance to the capacity C while servers still spend earlier leases and trickle grants
/// continue. Before the step, an ideal bucket held the tokens of the balance, these leases and these grants together.
struct ClockStepChecker {
    static let name = "clock step"

    private let limit: Limit
    private var ideals: IdealBuckets
    /// The remaining allowance for over-admission, in units; nil for keys whose store's clock has not stepped.
    private var allowance: [Int64?]
    /// Whether clock steps are the only faults, so that long denials must result from them.
    private let judgesDenials: Bool
    private var denials: DenialsAfterSteps

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ideals = IdealBuckets(settings)
        allowance = Array(repeating: nil, count: settings.keys)
        judgesDenials = settings.faults == .clock && !settings.isNearCapacity
        denials = DenialsAfterSteps(settings)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        if case .stepped(let key, let isForward, let trickleRemaining) = observation {
            let more = isForward ? limit.capacityUnits + trickleRemaining : 0
            allowance[key] = (allowance[key] ?? 0) + more
        }
        if judgesDenials, let found = denials.observe(observation, at: now) { return found }
        guard let (key, level) = ideals.observe(observation, at: now), let left = allowance[key],
            level < 0
        else { return nil }
        ideals.clampToZero(key, at: now)
        allowance[key] = left + level
        guard left + level < 0 else { return nil }
        return
            "org-\(key) was given \(-left - level) units more than the steps of its store's clock allow"
    }
}

/// Finds keys that are denied everything for longer than a lease after a step.
private struct DenialsAfterSteps {
    private let limit: Limit
    private let lease: Time
    /// When a request was last allowed or the clock last stepped, by key; nil before the first step.
    private var since: [Time?]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        lease = .milliseconds(settings.lease.durationMilliseconds + settings.lease.timeoutMilliseconds)
        since = Array(repeating: nil, count: settings.keys)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .stepped(let key, _, _): since[key] = now
        case .decided(let decided):
            guard let start = since[decided.key] else { return nil }
            if decided.decision.outcome == .allowed { since[decided.key] = now }
            guard decided.decision.outcome == .denied, decided.cost <= limit.capacity else { return nil }
            // Gaining the cost takes time, and another request may take the tokens: twice that time is allowed.
            let gain = limit.millisecondsToGain(limit.units(of: decided.cost))
            guard now - start > lease + .milliseconds(2 * gain) else { return nil }
            return "org-\(decided.key) has been denied everything for "
                + "\((now - start) / 1_000_000) ms since its store's clock stepped"
        default: break
        }
        return nil
    }
}
