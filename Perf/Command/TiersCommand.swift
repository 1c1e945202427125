internal import ArgumentParser
internal import Foundation

/// `perf tiers`: the performance of each stage of a rate limiter on this machine.
struct TiersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tiers",
        abstract: "Measure each stage of a rate limiter: the reference, one script, a ring, leases (the default).",
        discussion: """
            Each tier is measured through the library, in this process, and through HTTP, with its own server. Redis \
            servers and HTTP servers are started on free ports and stopped at the end. Latencies are of a closed loop, \
            corrected for coordinated omission. Excess counts tokens beyond what an ideal bucket would have admitted: \
            one request in 32 is for one of four organizations far over their limit of 100 tokens and 10 per second.
            """)

    @Option(help: ArgumentHelp("Organizations within their limit, 1 to 1000000. (default: 100)", valueName: "count"))
    var organizations: String?
    @Option(help: ArgumentHelp("Zipf exponent of requests per organization, 0 to 3; 0 for all alike. (default: 0)"))
    var skew: String?
    @Option(help: ArgumentHelp("HTTP connections, 1 to 100000. (default: 64)", valueName: "count"))
    var connections: String?
    @Option(
        help: ArgumentHelp("Requests in flight through the library, for each node, 1 to 10000. (default: 256)"))
    var depth: String?
    @Option(help: ArgumentHelp("Decision threads, 1 to 64. (default: half of the cores)", valueName: "count"))
    var threads: String?
    @Option(
        help: ArgumentHelp(
            "Only these tiers, such as reference,cache: \(Tier.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "names"))
    var tiers: String?
    @Option(help: ArgumentHelp("Only through the library, or only through HTTP.", valueName: "library|http"))
    var through: String?
    @OptionGroup var options: RunOptions

    static let columns: [Metric] = [
        .decisionsPerSecond, .p50Microseconds, .p99Microseconds, .p999Microseconds, .maxMicroseconds,
        .processorMicroseconds, .storeProcessorMicroseconds, .storeCallsPerThousand, .failed, .unmetered,
        .overAdmittedTokens,
    ]

    func run() async throws {
        let checked = try options.checked("tiers", standard: .init(seconds: 4, repetitions: 3))
        var settings = options.smoke ? TierRun.Settings.smoke : TierRun.Settings()
        settings.organizations = try RunOptions.integer(
            "organizations", organizations ?? "\(settings.organizations)", in: 1...1_000_000)
        settings.skew = try RunOptions.number("skew", skew ?? "0", in: 0...3)
        settings.connections = try RunOptions.integer("connections", connections ?? "64", in: 1...100_000)
        settings.depth = try RunOptions.integer("depth", depth ?? "\(settings.depth)", in: 1...10_000)
        let cores = ProcessInfo.processInfo.activeProcessorCount
        settings.threads = try RunOptions.integer("threads", threads ?? "\(max(1, cores / 2))", in: 1...64)
        settings.seconds = checked.seconds
        let plan = try plan()
        try FileLimit.ensure(settings.connections + 200)
        let result = try await measure(settings, plan, repetitions: checked.repetitions)
        try options.deliver(result, columns: Self.columns, comparedWith: checked.old)
        if options.smoke { try Self.checkCounts(result) }
    }

    private typealias Step = (tier: Tier, interface: Tier.Interface)

    /// All combinations of a tier and an interface, or the selected ones.
    private func plan() throws(PerfError) -> [Step] {
        var (chosenTiers, interfaces) = (Tier.allCases, Tier.Interface.allCases)
        if let tiers {
            chosenTiers = []
            for word in tiers.split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) }) {
                guard let tier = Tier(rawValue: word) else {
                    let names = Tier.allCases.map(\.rawValue).joined(separator: ", ")
                    throw PerfError("--tiers has '\(word)': use some of \(names), with commas", .usage)
                }
                if !chosenTiers.contains(tier) { chosenTiers.append(tier) }
            }
            guard !chosenTiers.isEmpty else { throw PerfError("--tiers is '\(tiers)': name at least one", .usage) }
        }
        if let through {
            interfaces = Tier.Interface.allCases.filter { $0.rawValue.lowercased() == through.lowercased() }
            guard !interfaces.isEmpty else { throw PerfError("--through is '\(through)': use library or http", .usage) }
        }
        return interfaces.flatMap { interface in chosenTiers.map { (tier: $0, interface: interface) } }
    }

    private func measure(
        _ settings: TierRun.Settings, _ plan: [Step], repetitions: Int
    ) async throws -> PerfResult {
        let machine = await Machine.current()
        var result = PerfResult(
            kind: "tiers",
            settings: [
                "organizations": "\(settings.organizations)", "skew": "\(settings.skew)",
                "connections": "\(settings.connections)", "depth": "\(settings.depth)",
                "threads": "\(settings.threads)", "seconds": "\(settings.seconds)", "repetitions": "\(repetitions)",
            ], machine: machine)
        result.rows = plan.map {
            .init(name: $0.tier.rowName($0.interface), referencePerSecond: $0.tier.referencePerSecond, samples: [])
        }
        let needsBenchmark = !options.smoke && plan.contains { $0 == (.cluster, .library) }
        let progress = Progress(steps: repetitions * (plan.count + (needsBenchmark ? 1 : 0)))
        let run = TierRun(settings)
        var benchmarks: [Double] = []
        // Tiers are interleaved, so that a slowdown of the machine affects all of them.
        for repetition in 1...repetitions {
            let suffix = repetitions > 1 ? " (\(repetition) of \(repetitions))" : ""
            for (index, step) in plan.enumerated() {
                progress.begin(step.tier.rowName(step.interface) + suffix)
                result.rows[index].samples.append(try await run.run(step.tier, step.interface))
                // Runs right after the tier with which it is compared.
                if needsBenchmark, step.tier == .cluster, step.interface == .library {
                    progress.begin("redis-benchmark" + suffix)
                    let benchmark = RedisBenchmark(
                        nodes: Tier.cluster.nodes, depth: settings.depth, organizations: settings.organizations,
                        seconds: settings.seconds)
                    benchmarks.append(try await benchmark.run())
                }
            }
        }
        progress.end()
        if needsBenchmark {
            result.rows.append(
                .init(
                    name: RedisBenchmark.rowName,
                    samples: benchmarks.map { .init(values: [.decisionsPerSecond: $0], seconds: settings.seconds) }))
        }
        if !options.smoke { result.ratios = Self.ratios(result) }
        return result
    }

    /// The ratios between tiers, with minimums that hold on every machine.
    static func ratios(_ result: PerfResult) -> [PerfResult.Ratio] {
        func ratio(_ name: String, over other: String) -> Double? {
            guard let row = result.rows.first(where: { $0.name == name })?[.decisionsPerSecond],
                let base = result.rows.first(where: { $0.name == other })?[.decisionsPerSecond], base > 0
            else { return nil }
            return row / base
        }
        let cluster = result.rows.first { $0.name == Tier.cluster.rowName(.library) }?[.decisionsPerSecond] ?? 0
        // If the cluster tier reaches the reference's figure, its ratio to redis-benchmark has no minimum.
        let isReached = cluster >= Tier.cluster.referencePerSecond
        let wanted: [(what: String, value: Double?, wanted: Double?)] = [
            (
                "cache over reference, library",
                ratio(Tier.cache.rowName(.library), over: Tier.reference.rowName(.library)), 20
            ),
            ("cache over reference, HTTP", ratio(Tier.cache.rowName(.http), over: Tier.reference.rowName(.http)), 4),
            (
                "cluster over redis-benchmark, library",
                ratio(Tier.cluster.rowName(.library), over: RedisBenchmark.rowName), isReached ? nil : 0.9
            ),
        ]
        return wanted.compactMap { entry in
            entry.value.map { PerfResult.Ratio(what: entry.what, value: $0, wanted: entry.wanted) }
        }
    }

    /// Checks the counts of a smoke run.
    static func checkCounts(_ result: PerfResult) throws(PerfError) {
        for row in result.rows {
            for (metric, range) in expectedCounts(row.name) {
                guard let value = row[metric] else {
                    throw PerfError("\(row.name): \(metric.heading) was not measured", .wrongCount)
                }
                guard range ~= value else {
                    throw PerfError(
                        "\(row.name): \(metric.heading) is \(decimalText(value)); expected "
                            + "\(decimalText(range.lowerBound)) to \(decimalText(range.upperBound))", .wrongCount)
                }
            }
        }
    }

    private static func expectedCounts(_ row: String) -> [(Metric, ClosedRange<Double>)] {
        var counts: [(Metric, ClosedRange<Double>)] = [(.failed, 0...0), (.unmetered, 0...0)]
        if row.hasPrefix("reference") {
            // A denied request takes two calls, any other takes four.
            counts.append((.storeCallsPerThousand, 2000...4000))
        } else if row.hasPrefix("single") || row.hasPrefix("cluster,") {
            counts += [(.storeCallsPerThousand, 1000...1000), (.overAdmittedTokens, 0...0)]
        } else {
            counts += [(.storeCallsPerThousand, 0...300), (.overAdmittedTokens, 0...0)]
        }
        return counts
    }

    private static func decimalText(_ value: Double) -> String { String(format: "%g", value) }
}
