internal import Cistern

/// Stranded and lost tokens: what a server that crashed had leased is free again by the end of a recovery, which outlasts
/// every lease; and without faults, what an ideal bucket would have given and we have not is bounded.
///
/// The bound is what leases may keep from those who need it: half of each capacity once, and a part of what is given.
/// It is a net for sizings that hoard; what a sizing costs is measured, not judged.
struct StrandingChecker {
    static let name = "stranding"

    private let settings: WorldSettings

    init(_ settings: WorldSettings) {
        self.settings = settings
    }

    /// Tokens on their way count as leased, so a bucket that fills within a few round trips cannot be used to the full
    /// by anybody who is not at the store.
    private var isRoomy: Bool {
        settings.limit.capacityMicrotokens > 8 * settings.roundTripMicrotokens
            && settings.limit.capacity > 8 * max(settings.servers, settings.workload.highestCost)
            && !settings.isNearCapacity
    }

    private func leasedToTheDead(in world: World) -> String? {
        let alive = Set(world.servers.filter(\.isUp).map { world.faultInjection.lesseeID($0.lesseeID, server: $0.id) })
        for node in world.nodes {
            for key in node.entries.keys.sorted() {
                let records = node.entries[key]?.bucket.records ?? []
                let dead = records.first {
                    $0.tokens > 0 && $0.endsMilliseconds > node.clock(at: world.now).storeMilliseconds
                        && !alive.contains($0.lesseeID)
                }
                if let dead { return "\(dead.tokens) tokens are still leased to \(dead.lesseeID), which is no more" }
            }
        }
        return nil
    }

    /// Looks at what is left of the world.
    func finish(_ world: World) -> String? {
        if world.isRecovering, let found = leasedToTheDead(in: world) { return found }
        guard settings.faults == .none, settings.policy == .cistern, isRoomy else { return nil }
        let (lost, due) = (world.tally.lostTokens, world.tally.dueTokens)
        let bound = settings.representedKeys * (settings.limit.capacity / 2 + 2) + due / 10
        return lost > bound ? "\(lost) tokens of \(due) were lost; the bound is \(bound)" : nil
    }
}
