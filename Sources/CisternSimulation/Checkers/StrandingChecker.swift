internal import Cistern

/// Stranded and lost tokens: without faults, what an ideal bucket would have given and we have not is bounded.
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
            && settings.limiter.maximumBuckets >= settings.organizations
    }

    /// Looks at what is left of the world.
    func finish(_ world: World) -> String? {
        guard settings.faults == .none, settings.policy == .cistern, isRoomy else { return nil }
        let lost = world.tally.idealTokens - world.tally.admittedTokens
        let bound = settings.organizations * (settings.limit.capacity / 2 + 2) + world.tally.idealTokens / 10
        return lost > bound ? "\(lost) tokens of \(world.tally.idealTokens) were lost; the bound is \(bound)" : nil
    }
}
