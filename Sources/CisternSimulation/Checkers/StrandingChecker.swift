internal import Cistern

/// Stranding: leases of crashed servers expire by the end of recovery, and without faults under-admission is bounded.
///
/// Recovery outlasts every lease. The bound is the number of tokens that leases may keep from servers that need them:
/// about half of each key's capacity, plus a tenth of the ideal admissions. It detects lease sizings that hoard tokens.
/// Below the bound, the cost of a sizing is only measured.
struct StrandingChecker {
    static let name = "stranding"

    private let settings: WorldSettings

    init(_ settings: WorldSettings) {
        self.settings = settings
    }

    /// Whether buckets are large enough for the bound to apply.
    ///
    /// Tokens in transit count as leased, so remote servers cannot fully use a bucket that fills in a few round trips.
    private var boundApplies: Bool {
        settings.limit.capacityUnits > 8 * settings.roundTripUnits
            && settings.limit.capacity > 8 * max(settings.servers, settings.workload.highestCost)
            && !settings.isNearCapacity
    }

    private func leaseOfStoppedServer(in end: FinalState) -> String? {
        for node in end.nodes {
            for key in node.entries.keys.sorted() {
                guard let bucket = node.entries[key]?.bucket else { continue }
                let time = bucket.time(atClock: node.clock(at: end.now).storeMilliseconds)
                let dead = bucket.records.first {
                    $0.value.tokens > 0 && $0.value.endsMilliseconds > time && !end.aliveLesseeIDs.contains($0.key)
                }
                if let dead { return "\(dead.value.tokens) tokens are still leased to \(dead.key), which has ended" }
            }
        }
        return nil
    }

    /// Checks the state in which a world ends.
    func finish(_ end: FinalState) -> String? {
        if end.isRecovering, let found = leaseOfStoppedServer(in: end) { return found }
        guard settings.faults == .none, settings.policy == .cistern, boundApplies else { return nil }
        let (lost, due) = (end.tally.underAdmittedTokens, end.tally.dueTokens)
        let bound = settings.representedKeys * (settings.limit.capacity / 2 + 2) + due / 10
        return lost > bound ? "under-admission is \(lost) of \(due) tokens; the bound is \(bound)" : nil
    }
}
