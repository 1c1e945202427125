import Cistern
import CisternSimulation
import Testing

/// Mutation tests: a checker finds each defect of the protocol within a stated number of worlds.
@Suite("Mutants of the protocol are caught")
struct MutantTests {
    struct Mutant: Sendable, CustomTestStringConvertible {
        let faultInjection: any FaultInjection & Sendable
        /// The checkers that may find it first.
        let checkers: Set<String>
        /// The number of worlds, from seed 1, within which one of the checkers finds it.
        let worlds: UInt64
        var faults = FaultKind.all

        var testDescription: String { "\(type(of: faultInjection))" }
    }

    static let all = [
        Mutant(faultInjection: Mutants.OutstandingIgnored(), checkers: ["ledger"], worlds: 5),
        Mutant(faultInjection: Mutants.TwoInFlight(), checkers: ["record", "over-admission"], worlds: 10),
        Mutant(faultInjection: Mutants.LateReplySpent(), checkers: ["isolation", "record"], worlds: 10),
        Mutant(faultInjection: Mutants.AcknowledgementIgnored(), checkers: ["over-admission"], worlds: 20),
        Mutant(faultInjection: Mutants.NeverExpires(), checkers: ["stranding", "liveness"], worlds: 20),
        Mutant(faultInjection: Mutants.LateReturnCredited(), checkers: ["ledger", "isolation"], worlds: 100),
        Mutant(faultInjection: Mutants.TimedFromReply(), checkers: ["record"], worlds: 10),
        Mutant(faultInjection: Mutants.SlotExpiresEarly(), checkers: ["record"], worlds: 20),
        Mutant(faultInjection: Mutants.ExpiryCredited(), checkers: ["ledger", "over-admission"], worlds: 100),
        Mutant(faultInjection: Mutants.NoClockMargin(), checkers: ["record"], worlds: 1000),
        Mutant(
            faultInjection: Mutants.LesseeIDReused(), checkers: ["over-admission", "record", "liveness"], worlds: 200),
        Mutant(faultInjection: Mutants.TricklesExceedRefill(), checkers: ["ledger", "false denial"], worlds: 20),
        Mutant(faultInjection: Mutants.UnspentTimeOverstated(), checkers: ["over-admission"], worlds: 50),
        Mutant(faultInjection: Mutants.HalfSpendOverstated(), checkers: ["over-admission"], worlds: 50),
        Mutant(faultInjection: Mutants.OverflowCreditedTwice(), checkers: ["ledger", "over-admission"], worlds: 100),
        Mutant(faultInjection: Mutants.DuplicateActedOn(), checkers: ["record", "over-admission"], worlds: 20),
        Mutant(faultInjection: Mutants.OpenUnderstated(), checkers: ["false denial"], worlds: 5),
        Mutant(faultInjection: Mutants.NoDeadline(), checkers: ["waiting"], worlds: 5),
        Mutant(faultInjection: Mutants.NoProbe(), checkers: ["liveness"], worlds: 5),
        Mutant(faultInjection: Mutants.OneBucketForAll(), checkers: ["isolation"], worlds: 20),
        Mutant(faultInjection: Mutants.TokenFromNowhere(), checkers: ["isolation"], worlds: 5),
        Mutant(faultInjection: Mutants.ClockStepIgnored(), checkers: ["clock step"], worlds: 400),
        Mutant(faultInjection: Mutants.GrantsHalved(), checkers: ["stranding"], worlds: 20, faults: .none),
    ]

    @Test("a checker catches the mutant within its stated number of worlds", arguments: all)
    func caught(_ mutant: Mutant) throws {
        for seed in 1...mutant.worlds {
            let settings = try WorldSettings.small(seed: seed, faults: mutant.faults)
            let outcome = World(settings, faultInjection: mutant.faultInjection).run()
            if let violation = outcome.violations.first, mutant.checkers.contains(violation.checker) {
                print("\(mutant.testDescription): caught in world \(seed) by \(violation.checker)")
                return
            }
        }
        Issue.record("\(mutant.testDescription) is not caught within \(mutant.worlds) worlds")
    }

    @Test("each checker alone can catch a mutant, except conservation, which checks a server's own tally")
    func everyCheckerBites() {
        let found = Self.all.reduce(into: Set<String>()) { if $1.checkers.count == 1 { $0.formUnion($1.checkers) } }
        #expect(found.union(["conservation"]) == Set(CheckerSet.names))
    }
}
