internal import Cistern

/// No over-admission: over every interval of length t all servers together admit at most C + R·t.
///
/// This holds if and only if an ideal bucket, full at the start, could have paid for each admission at its time.
/// ``ClockStepChecker`` judges the keys whose store's clock has stepped.
struct OverAdmissionChecker {
    static let name = "over-admission"

    private let limit: Limit
    private var ideals: IdealBuckets
    private var hasStepped: [Bool]
    private var lowest: Int64 = 0

    init(_ settings: WorldSettings) {
        limit = settings.limit
        ideals = IdealBuckets(settings)
        hasStepped = Array(repeating: false, count: settings.keys)
    }

    var peakPercent: Double {
        Double(-lowest) / Double(limit.capacityUnits) * 100
    }

    mutating func observe(_ observation: Observation, at now: Time) -> String? {
        if case .stepped(let key, _, _) = observation { hasStepped[key] = true }
        guard let (key, level) = ideals.observe(observation, at: now), !hasStepped[key] else {
            return nil
        }
        lowest = min(lowest, level)
        guard level < 0 else { return nil }
        return "org-\(key) was given \(-level) units more than capacity and refill allow"
    }
}
