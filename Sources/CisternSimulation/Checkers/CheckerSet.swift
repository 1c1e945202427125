internal import Cistern

/// All checkers of one world, and the violations that they have found.
package struct CheckerSet {
    /// The names of the checkers.
    package static let names = [
        OverAdmissionChecker.name, LedgerChecker.name, RecordChecker.name, FalseDenialChecker.name, WaitingChecker.name,
        IsolationChecker.name, ConservationChecker.name, StrandingChecker.name, LivenessChecker.name,
        ClockStepChecker.name,
    ]

    /// The name of the checker that judges how many tokens the lease settings strand.
    ///
    /// All other checkers judge the limiter.
    package static let stranding = StrandingChecker.name

    private var overAdmission: OverAdmissionChecker
    private var ledger: LedgerChecker
    private var record: RecordChecker
    private var falseDenials: FalseDenialChecker
    private var waiting: WaitingChecker
    private var isolation: IsolationChecker
    private var conservation: ConservationChecker
    private var stranding: StrandingChecker
    private var liveness: LivenessChecker
    private var clockSteps: ClockStepChecker
    /// Whether violations count.
    ///
    /// The write-behind limiter breaks these invariants, so it is only measured.
    private let countsViolations: Bool
    private(set) var violations: [Violation] = []

    init(_ settings: WorldSettings) {
        countsViolations = settings.policy != .writeBehind
        overAdmission = OverAdmissionChecker(settings)
        ledger = LedgerChecker(settings)
        record = RecordChecker(settings)
        falseDenials = FalseDenialChecker(settings)
        waiting = WaitingChecker(settings)
        isolation = IsolationChecker(settings)
        conservation = ConservationChecker(settings)
        stranding = StrandingChecker(settings)
        liveness = LivenessChecker(settings)
        clockSteps = ClockStepChecker(settings)
    }

    /// The peak over-admission: how far admissions exceeded capacity plus refill, in percent of the capacity.
    var peakOverAdmissionPercent: Double { overAdmission.peakPercent }

    mutating func observe(_ observation: Observation, at now: Time) {
        note(overAdmission.observe(observation, at: now), by: OverAdmissionChecker.name, at: now)
        guard countsViolations else { return }
        note(ledger.observe(observation, at: now), by: LedgerChecker.name, at: now)
        note(record.observe(observation, at: now), by: RecordChecker.name, at: now)
        note(falseDenials.observe(observation, at: now), by: FalseDenialChecker.name, at: now)
        note(waiting.observe(observation, at: now), by: WaitingChecker.name, at: now)
        note(isolation.observe(observation, at: now), by: IsolationChecker.name, at: now)
        note(conservation.observe(observation, at: now), by: ConservationChecker.name, at: now)
        note(liveness.observe(observation, at: now), by: LivenessChecker.name, at: now)
        note(clockSteps.observe(observation, at: now), by: ClockStepChecker.name, at: now)
    }

    /// Checks a server's run that has ended, by a crash or with the world.
    mutating func endRun(of server: Server, names: [[UInt8]], at now: Time) {
        guard countsViolations, case .cistern(let limiter) = server.limiter else { return }
        let leased = names.reduce(0) { $0 + limiter.outstandingTokens($1.span) }
        let found = conservation.endRun(of: server.id, tally: limiter.statistics.leaseTokens, leased: leased)
        note(found, by: ConservationChecker.name, at: now)
    }

    /// Checks the state in which a world ends.
    mutating func finish(_ end: FinalState) {
        guard countsViolations, violations.isEmpty else { return }
        for server in end.servers where server.isUp {
            endRun(of: server, names: end.names, at: end.now)
        }
        note(waiting.finish(end.requests, at: end.now), by: WaitingChecker.name, at: end.now)
        note(stranding.finish(end), by: StrandingChecker.name, at: end.now)
    }

    private mutating func note(_ what: String?, by checker: String, at now: Time) {
        guard countsViolations, let what else { return }
        violations.append(Violation(checker: checker, time: now, what: what))
    }
}
