internal import Cistern

/// A step of a store's clock costs little: backward no over-admission, forward at most C and what running trickle
/// grants have to come, for each step; and denials for no longer than a lease.
///
/// After a step forward the balance may jump to C while what was leased before is still being spent, and trickle grants
/// go on; an ideal bucket held all of that together before.
struct ClockStepChecker {
    static let name = "clock step"

    private let limit: Limit
    private var ideals: IdealBuckets
    /// What may still be admitted too much, of organizations whose store's clock has stepped.
    private var allowance: [Int64?]
    /// Whether nothing else goes wrong, so that a denial must come of a step.
    private let judgesDenials: Bool
    private var denials: DenialsAfterSteps

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ideals = IdealBuckets(settings)
        allowance = Array(repeating: nil, count: settings.organizations)
        judgesDenials = settings.faults == .clock && !settings.isCrowded
        denials = DenialsAfterSteps(settings)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        if case .stepped(let organization, let isForward, let coming) = observation {
            let more = isForward ? limit.capacityMicrotokens + coming : 0
            allowance[organization] = (allowance[organization] ?? 0) + more
        }
        if judgesDenials, let found = denials.observe(observation, at: now) { return found }
        guard let (organization, level) = ideals.observe(observation, at: now), let left = allowance[organization],
            level < 0
        else { return nil }
        ideals.forgive(organization, at: now)
        allowance[organization] = left + level
        guard left + level < 0 else { return nil }
        return
            "org-\(organization) was given \(-left - level) microtokens more than the steps of its store's clock allow"
    }
}

/// Organizations that are denied everything for longer than a lease after a step.
private struct DenialsAfterSteps {
    private let limit: Limit
    private let lease: Time
    /// When something was last allowed, or the clock last stepped; nil before the first step.
    private var since: [Time?]

    init(_ settings: WorldSettings) {
        limit = settings.limit
        lease = .milliseconds(settings.limiter.lease.durationMilliseconds + settings.limiter.lease.timeoutMilliseconds)
        since = Array(repeating: nil, count: settings.organizations)
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        switch observation {
        case .stepped(let organization, _, _): since[organization] = now
        case .decided(let decided):
            guard let start = since[decided.organization] else { return nil }
            if decided.decision.outcome == .allowed { since[decided.organization] = now }
            guard decided.decision.outcome == .denied, decided.cost <= limit.capacity else { return nil }
            // Emptied just before, it needs the time to gain what is asked for; others may be before this request.
            let gain = limit.millisecondsToGain(Int64(decided.cost) * Limit.microtokensPerToken)
            guard now - start > lease + .milliseconds(2 * gain) else { return nil }
            return "org-\(decided.organization) has been denied everything for "
                + "\((now - start) / 1_000_000) ms since its store's clock stepped"
        default: break
        }
        return nil
    }
}
