internal import ArgumentParser
internal import Cistern
internal import CisternServer
internal import Foundation

/// `perf leases`: the costs and benefits of lease settings, on real servers.
struct LeasesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "Sweep lease settings on real servers and a real Redis, for your workload.",
        discussion: """
            Requests arrive at a fixed rate, spread over the servers. Lost counts requests that an ideal bucket would \
            have admitted and the servers did not. Outstanding tokens are held by the servers. Stranded tokens are \
            held beyond what a server spends in a horizon. 'cistern simulate' does the same in a simulation.
            """)

    @Option(help: ArgumentHelp("Servers that share the limits, 1 to 16. (default: 2)", valueName: "count"))
    var servers: String?
    @Option(
        help: ArgumentHelp(
            "Load in multiples of the buckets' refill, 0.01 to 100. (default: 1.2)", valueName: "factor"))
    var load: String?
    @Option(
        help: ArgumentHelp(
            "Servers that get the requests: even for all, moving for one at a time, a second each. (default: even)",
            valueName: "name"))
    var spread: String?
    @Option(help: ArgumentHelp("Lease horizons to try. (default: 50ms,100ms,250ms,500ms,1s)", valueName: "times"))
    var horizons: String?
    @Option(help: ArgumentHelp("Lease durations to try. (default: 2s,5s)", valueName: "times"))
    var durations: String?
    @OptionGroup var workload: LoadOptions
    @OptionGroup var options: RunOptions

    static let columns: [Metric] = [
        .decisionsPerSecond, .storeCallsPerSecond, .storeCallsPerThousand, .p50Microseconds, .p99Microseconds,
        .underAdmissionPercent,
        .outstandingTokens, .strandedTokens, .deniedPercent, .overAdmittedTokens, .failed, .unmetered,
    ]

    func run() async throws {
        let checked = try options.checked("leases", standard: .init(seconds: 5, repetitions: 1))
        var settings = LeaseRun.Settings()
        settings.servers = try RunOptions.integer("servers", servers ?? "2", in: 1...16)
        settings.organizations = try workload.keyCount(standard: 10)
        settings.skew = try workload.chosenSkew()
        settings.limit = try workload.limit(standard: try Limit(capacity: 1000, refillPerSecond: 1000)) ?? .standard
        settings.load = try RunOptions.number("load", load ?? "1.2", in: 0.01...100)
        if let spread {
            guard let chosen = LeaseRun.Spread(rawValue: spread) else {
                throw PerfError("--spread is '\(spread)': use one of even, moving", .usage)
            }
            settings.spread = chosen
        }
        settings.connections = try workload.connectionCount()
        settings.seconds = checked.seconds
        settings.warmUpSeconds = options.smoke ? 0 : 2
        guard settings.connections >= settings.servers * HTTPLoad.threads else {
            throw PerfError(
                "--connections is '\(settings.connections)': use \(settings.servers * HTTPLoad.threads) or more, "
                    + "one for each server and thread", .usage)
        }
        guard checked.seconds <= 300 else {
            throw PerfError("--duration is '\(options.duration ?? "")': use at most 5m for each setting", .usage)
        }
        guard settings.ratePerSecond <= 200_000 else {
            throw PerfError(
                "that makes \(Int(settings.ratePerSecond)) requests a second: use a lower --load, "
                    + "--refill-per-second or --organizations for at most 200000", .usage)
        }
        let choices = try chosen()
        try FileLimit.ensure(settings.connections + 200)
        let result = try await measure(settings, choices, repetitions: checked.repetitions)
        try options.deliver(result, columns: Self.columns, comparedWith: checked.old)
        if options.smoke { try Self.checkCounts(result) }
    }

    /// All combinations of a horizon and a duration in which the horizon is at most half of the duration.
    func chosen() throws(PerfError) -> [LeaseRun.Choice] {
        let isSmoke = options.smoke
        let horizons = try Self.times(
            "horizons", horizons ?? (isSmoke ? "250ms" : "50ms,100ms,250ms,500ms,1s"),
            LeaseSettings.Field.leaseHorizon.range)
        let durations = try Self.times(
            "durations", durations ?? (isSmoke ? "2s" : "2s,5s"), LeaseSettings.Field.leaseDuration.range)
        let choices = durations.flatMap { duration in
            horizons.filter { $0 * 2 <= duration }.map {
                LeaseRun.Choice(horizonMilliseconds: $0, durationMilliseconds: duration)
            }
        }
        guard !choices.isEmpty else {
            throw PerfError(
                "no horizon is at most half of a duration: use shorter --horizons or longer --durations", .usage)
        }
        return choices
    }

    private static func times(
        _ flag: String, _ text: String, _ range: ClosedRange<Int64>
    ) throws(PerfError) -> [Int64] {
        var times: [Int64] = []
        for word in text.split(separator: ",") {
            guard let time = Duration.wholeMilliseconds(in: String(word)), range ~= time else {
                throw PerfError(
                    "--\(flag) has '\(word)': use times from \(range.lowerBound)ms to \(range.upperBound / 1000)s with "
                        + "commas, such as 100ms,1s", .usage)
            }
            times.append(time)
        }
        return times
    }

    private func measure(
        _ settings: LeaseRun.Settings, _ choices: [LeaseRun.Choice], repetitions: Int
    ) async throws -> PerfResult {
        var result = PerfResult(
            kind: "leases",
            settings: [
                "servers": "\(settings.servers)", "organizations": "\(settings.organizations)",
                "skew": "\(settings.skew)", "spread": settings.spread.rawValue, "load": "\(settings.load)",
                "limit": "\(settings.limit.capacity) tokens, \(settings.limit.refillPerSecond) a second",
                "connections": "\(settings.connections)", "seconds": "\(settings.seconds)",
                "repetitions": "\(repetitions)", "requests/s": TextReport.grouped(Int(settings.ratePerSecond)),
            ], machine: await Machine.current())
        result.rows = choices.map { choice in
            .init(
                name: choice.name,
                settings: [
                    "leaseHorizon": "\(choice.horizonMilliseconds)ms",
                    "leaseDuration": "\(choice.durationMilliseconds)ms",
                ], samples: [])
        }
        let run = LeaseRun(settings)
        let progress = Progress(steps: repetitions * choices.count)
        for repetition in 1...repetitions {
            for (index, choice) in choices.enumerated() {
                progress.begin(choice.name + (repetitions > 1 ? " (\(repetition) of \(repetitions))" : ""))
                result.rows[index].samples.append(try await run.run(choice))
            }
        }
        progress.end()
        return result
    }

    static func checkCounts(_ result: PerfResult) throws(PerfError) {
        for row in result.rows {
            for metric in [Metric.overAdmittedTokens, .failed] {
                guard let value = row[metric], value > 0 else { continue }
                throw PerfError("\(row.name): \(metric.heading) is \(value); expected 0", .wrongCount)
            }
        }
    }
}
