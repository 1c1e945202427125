internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import CisternSimulation

/// The flags of `cistern simulate`.
///
/// Values stay text until they are validated, so that each error can say how to correct them.
struct SimulateOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Seed of the world, 0 to 2^64 − 1; random if not given.", valueName: "number"))
    var seed: String?
    @Option(
        help: ArgumentHelp(
            "Simulate a small random world for each seed; of the flags for a world, only --faults is allowed.",
            valueName: "first..last"))
    var seeds: String?
    @Option(help: ArgumentHelp("Number of servers, 1 to 2000. (default: 8)", valueName: "count")) var servers: String?
    @Option(help: ArgumentHelp("Redis nodes, 1 to 100. (default: 1; 3 with faults crash and all)", valueName: "count"))
    var nodes: String?
    @Option(help: ArgumentHelp("Organizations, 1 to 10000. (default: 1)", valueName: "count")) var organizations:
        String?
    @Option(help: ArgumentHelp("Burst of each organization, in tokens. (default: 1000)", valueName: "tokens"))
    var capacity: String?
    @Option(help: ArgumentHelp("Refill of each organization. (default: 1000/s)", valueName: "tokens/period"))
    var refill: String?
    @Option(help: ArgumentHelp("In place of --refill: tokens a second.", valueName: "tokens/s"))
    var refillPerSecond: String?
    @Option(
        help: ArgumentHelp(
            "Workload: \(WorkloadKind.allCases.map(\.rawValue).joined(separator: ", ")). (default: even)",
            valueName: "name"))
    var workload: String?
    @Option(
        help: ArgumentHelp(
            "Load in multiples of the buckets' refill rate, 0.001 to 1000; the default depends on the workload.",
            valueName: "factor"))
    var load: String?
    @Option(
        help: ArgumentHelp("Faults to inject: none, network, crash, clock or all. (default: none)", valueName: "kind"))
    var faults: String?
    @Option(help: ArgumentHelp("Simulated time, 1s to 24h. (default: 30s)", valueName: "time"))
    var duration: String?
    @Option(
        help: ArgumentHelp(
            "Shortest and longest latency of a message, in microseconds, 1 to 10000000. (default: 200..800)",
            valueName: "shortest..longest"))
    var latency: String?
    @Option(
        help: ArgumentHelp(
            """
            Limiter to simulate: cistern, or for comparison write-behind, fixed-lease or per-request; all runs each in \
            turn. (default: cistern)
            """, valueName: "name"))
    var policy: String?
    @OptionGroup var lease: LeaseOptions
    @Flag(help: "Print JSON instead of a table.") var json = false

    // MARK: Seeds

    func chosenSeed() throws(FlagError) -> UInt64 {
        guard let seed else { return UInt64.random(in: 0..<1 << 32) }
        guard let number = UInt64(seed) else {
            throw FlagError("seed", seed, "use a whole number from 0 to 18446744073709551615")
        }
        return number
    }

    func seedRange() throws(FlagError) -> ClosedRange<UInt64>? {
        guard let seeds else { return nil }
        guard let range: ClosedRange<UInt64> = Self.range(seeds), range.upperBound - range.lowerBound < 1 << 40 else {
            throw FlagError("seeds", seeds, "use the first and the last, such as 1..10000")
        }
        for (flag, value) in [("seed", seed)] + worldFlags where value != nil {
            throw FlagError(
                "--\(flag) and --seeds do not go together: each seed draws a world of its own; leave one out")
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

    func chosenFaults() throws(FlagError) -> FaultKind {
        try FlagValue.choice("faults", faults ?? "none")
    }

    func policies() throws(FlagError) -> [Policy] {
        let isCalm = try chosenFaults() == .none
        if policy == "all" { return Policy.allCases.filter { isCalm || $0 != .writeBehind } }
        let chosen: Policy = try FlagValue.choice("policy", policy ?? "cistern")
        guard isCalm || chosen != .writeBehind else {
            throw FlagError(
                "--policy write-behind does not support --faults: it serves to compare figures, and retries nothing")
        }
        return [chosen]
    }

    func settings(seed: UInt64, policy: Policy) throws(FlagError) -> WorldSettings {
        var settings = WorldSettings(
            seed: seed,
            limit: try FlagValue.limit(
                capacity: capacity ?? "1000", refill: refill, refillPerSecond: refillPerSecond),
            workload: try FlagValue.choice("workload", workload ?? "even"))
        settings.policy = policy
        settings.servers = try FlagValue.integer("servers", servers ?? "8", in: 1...2000)
        settings.keys = try FlagValue.integer("organizations", organizations ?? "1", in: 1...10_000)
        settings.faults = try chosenFaults()
        // Organizations move between nodes only if there are several.
        settings.nodes = try FlagValue.integer(
            "nodes", nodes ?? (settings.faults.breaksMachines ? "3" : "1"), in: 1...100)
        if let load {
            settings.load = try FlagValue.number("load", load, in: 0.001...1000)
        }
        let times = latency ?? "200..800"
        guard let range: ClosedRange<Int64> = Self.range(times), range.lowerBound >= 1, range.upperBound <= 10_000_000
        else { throw FlagError("latency", times, "use microseconds, such as 1000..20000") }
        settings.latencyMicroseconds = range
        settings.limiter = try lease.limiter()
        guard range.upperBound * 2 <= settings.limiter.lease.timeoutMilliseconds * 1000 else {
            throw FlagError("latency", times, "use at most half of --store-timeout, or every round trip times out")
        }
        settings.durationMilliseconds = try FlagValue.milliseconds(
            "duration", duration ?? "30s", in: 1000...86_400_000, "1s to 24h")
        guard !settings.workload.changes || settings.durationMilliseconds >= settings.periodMilliseconds else {
            throw FlagError("duration", duration ?? "30s", "use 5s or more: this workload changes over five seconds")
        }
        if settings.faults != .none {
            settings.driftPartsPerMillion = settings.limiter.lease.clockDriftPerMille * 950
            settings.recoveryMilliseconds = 2000 + 2 * settings.limiter.lease.durationMilliseconds
        }
        guard settings.expectedRequests <= 1e8 else {
            throw FlagError(
                """
                that makes \(Int(min(settings.expectedRequests, 1e18))) requests: use a lower --load, \
                --refill, --organizations or --duration for at most 100000000
                """)
        }
        return settings
    }

    /// The flags that describe one world, except its seed and its faults.
    private var worldFlags: [(flag: String, value: String?)] {
        [
            ("servers", servers), ("nodes", nodes), ("organizations", organizations), ("capacity", capacity),
            ("refill", refill), ("refill-per-second", refillPerSecond), ("workload", workload), ("load", load),
            ("duration", duration),
            ("latency", latency), ("policy", policy),
        ] + lease.arguments
    }

    /// The command that reproduces the world of a seed.
    func replay(seed: UInt64) -> String {
        let given = [("faults", faults)] + worldFlags
        let flags = given.compactMap { flag, value in value.map { " --\(flag) \($0)" } }.joined()
        return "cistern simulate --seed \(seed)\(flags)"
    }
}
