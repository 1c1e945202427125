internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import CisternSimulation

/// The flags of `cistern simulate`; values stay text until they are checked, so that each error says what would be right.
struct SimulateOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Seed of the world, 0 to 2^64 − 1; a fresh one unless given.", valueName: "number"))
    var seed: String?
    @Option(
        help: ArgumentHelp(
            "Run a small world for each seed, drawn from everything that may vary; goes with --faults only.",
            valueName: "first..last"))
    var seeds: String?
    @Option(help: ArgumentHelp("Servers, 1 to 1000. (default: 8)", valueName: "count")) var servers: String?
    @Option(help: ArgumentHelp("Redis nodes, 1 to 100. (default: 1; 3 with faults crash and all)", valueName: "count"))
    var nodes: String?
    @Option(help: ArgumentHelp("Organisations, 1 to 10000. (default: 1)", valueName: "count")) var organizations:
        String?
    @Option(help: ArgumentHelp("Burst of each, in tokens. (default: 1000)", valueName: "tokens")) var capacity: String?
    @Option(help: ArgumentHelp("Refill rate of each. (default: 1000)", valueName: "tokens/s")) var refillPerSecond:
        String?
    @Option(
        help: ArgumentHelp(
            "What comes in: \(WorkloadKind.allCases.map(\.rawValue).joined(separator: ", ")). (default: even)",
            valueName: "name"))
    var workload: String?
    @Option(
        help: ArgumentHelp(
            "Load in multiples of what the buckets refill, 0.001 to 1000; each workload has its own unless given.",
            valueName: "factor"))
    var load: String?
    @Option(help: ArgumentHelp("What goes wrong: none, network, crash or all. (default: none)", valueName: "kind"))
    var faults: String?
    @Option(help: ArgumentHelp("How long, in the world's time: 1s to 24h. (default: 30s)", valueName: "time"))
    var duration: String?
    @Option(
        help: ArgumentHelp(
            "Shortest and longest time that a message takes, in microseconds, 1 to 10000000. (default: 200..800)",
            valueName: "shortest..longest"))
    var latency: String?
    @Option(
        help: ArgumentHelp(
            """
            Which limiter: cistern, or to compare with write-behind, fixed-lease, per-request; all for each in turn. \
            (default: cistern)
            """, valueName: "name"))
    var policy: String?
    @OptionGroup var lease: LeaseOptions
    @Flag(help: "Print JSON instead of a table.") var json = false

    /// An argument that is wrong: which one, its value, and what would be right.
    struct Invalid: Error, CustomStringConvertible {
        let description: String

        init(_ flag: String, _ value: String, _ remedy: String) {
            description = "--\(flag) is '\(value)': \(remedy)"
        }

        init(_ description: String) {
            self.description = description
        }
    }

    // MARK: Seeds

    func chosenSeed() throws(Invalid) -> UInt64 {
        guard let seed else { return UInt64.random(in: 0..<1 << 32) }
        guard let number = UInt64(seed) else {
            throw Invalid("seed", seed, "use a whole number from 0 to 18446744073709551615")
        }
        return number
    }

    func seedRange() throws(Invalid) -> ClosedRange<UInt64>? {
        guard let seeds else { return nil }
        guard let range: ClosedRange<UInt64> = Self.range(seeds), range.upperBound - range.lowerBound < 1 << 40 else {
            throw Invalid("seeds", seeds, "use the first and the last, such as 1..10000")
        }
        for (flag, value) in [("seed", seed)] + worldFlags where value != nil {
            throw Invalid("--\(flag) and --seeds do not go together: each seed draws a world of its own; leave one out")
        }
        return range
    }

    private static func range<Number: FixedWidthInteger>(_ text: String) -> ClosedRange<Number>? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[1].isEmpty, let first = Number(parts[0]), let last = Number(parts[2]),
            first <= last
        else { return nil }
        return first...last
    }

    // MARK: Worlds

    func chosenFaults() throws(Invalid) -> FaultKind {
        try choice("faults", faults ?? "none")
    }

    func policies() throws(Invalid) -> [Policy] {
        let isCalm = try chosenFaults() == .none
        if policy == "all" { return Policy.allCases.filter { isCalm || $0 != .writeBehind } }
        let chosen: Policy = try choice("policy", policy ?? "cistern")
        guard isCalm || chosen != .writeBehind else {
            throw Invalid(
                "--policy write-behind goes without --faults: it is there to compare figures, and repeats nothing")
        }
        return [chosen]
    }

    func settings(seed: UInt64, policy: Policy) throws(Invalid) -> WorldSettings {
        var settings = WorldSettings(
            seed: seed, limit: try limit(), workload: try choice("workload", workload ?? "even"))
        settings.policy = policy
        settings.servers = try integer("servers", servers ?? "8", in: 1...1000)
        settings.organizations = try integer("organizations", organizations ?? "1", in: 1...10_000)
        settings.faults = try chosenFaults()
        // Organisations move between nodes only where there are several.
        settings.nodes = try integer("nodes", nodes ?? (settings.faults.breaksMachines ? "3" : "1"), in: 1...100)
        if let load {
            guard let factor = Double(load), 0.001...1000 ~= factor else {
                throw Invalid("load", load, "use a number from 0.001 to 1000")
            }
            settings.load = factor
        }
        let times = latency ?? "200..800"
        guard let range: ClosedRange<Int64> = Self.range(times), range.lowerBound >= 1, range.upperBound <= 10_000_000
        else { throw Invalid("latency", times, "use microseconds, such as 1000..20000") }
        settings.latencyMicroseconds = range
        settings.limiter = try limiter()
        guard range.upperBound * 2 <= settings.limiter.lease.timeoutMilliseconds * 1000 else {
            throw Invalid("latency", times, "use at most half of --store-timeout, or every round trip ends at it")
        }
        settings.durationMilliseconds = try milliseconds()
        guard !settings.workload.changes || settings.durationMilliseconds >= settings.periodMilliseconds else {
            throw Invalid("duration", duration ?? "30s", "use 5s or more: this workload changes over five seconds")
        }
        if settings.faults != .none {
            settings.driftPartsPerMillion = settings.limiter.lease.clockDriftPerMille * 950
            settings.recoveryMilliseconds = 2000 + 2 * settings.limiter.lease.durationMilliseconds
        }
        guard settings.expectedRequests <= 1e8 else {
            throw Invalid(
                """
                that makes \(Int(min(settings.expectedRequests, 1e18))) requests: use a lower --load, \
                --refill-per-second, --organizations or --duration for at most 100000000
                """)
        }
        return settings
    }

    private func limit() throws(Invalid) -> Limit {
        let rate = refillPerSecond ?? "1000"
        guard let refill = Double(rate) else {
            throw Invalid("refill-per-second", rate, "use a number of tokens a second, such as 1000")
        }
        let tokens = try integer("capacity", capacity ?? "1000", in: 1...Limit.maximumCapacity)
        do {
            return try Limit(capacity: tokens, refillPerSecond: refill)
        } catch {
            throw Invalid("refill-per-second", rate, error.remedy)
        }
    }

    /// The lease settings, read and checked as those of `cistern serve`.
    private func limiter() throws(Invalid) -> LimiterSettings {
        do {
            return try ServerSettings(flags: lease.values, environment: [:], configPath: nil).limiter
        } catch {
            throw Invalid("\(error)")
        }
    }

    private func milliseconds() throws(Invalid) -> Int64 {
        let text = duration ?? "30s"
        guard let milliseconds = SettingsReader.milliseconds(text), 1000...86_400_000 ~= milliseconds else {
            throw Invalid("duration", text, "use a time from 1s to 24h")
        }
        return milliseconds
    }

    private func integer(_ flag: String, _ text: String, in range: ClosedRange<Int>) throws(Invalid) -> Int {
        guard let number = Int(text), range ~= number else {
            throw Invalid(flag, text, "use a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ flag: String, _ text: String
    ) throws(Invalid) -> Choice {
        guard let choice = Choice(rawValue: text) else {
            throw Invalid(flag, text, "use one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    /// The flags that describe one world, but for its seed and its faults.
    private var worldFlags: [(flag: String, value: String?)] {
        [
            ("servers", servers), ("nodes", nodes), ("organizations", organizations), ("capacity", capacity),
            ("refill-per-second", refillPerSecond), ("workload", workload), ("load", load), ("duration", duration),
            ("latency", latency), ("policy", policy),
        ] + lease.arguments
    }

    /// The command that shows the world of a seed again.
    func replay(seed: UInt64) -> String {
        let given = [("faults", faults)] + worldFlags
        let flags = given.compactMap { flag, value in value.map { " --\(flag) \($0)" } }.joined()
        return "cistern simulate --seed \(seed)\(flags)"
    }
}
