internal import ArgumentParser
internal import Foundation

/// `perf engine`: the decision itself.
struct EngineCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine",
        abstract: "Measure decisions in memory: ns, allocations, and bytes per organization.",
        discussion: """
            Each decision reads the clock, looks up a name of 36 bytes, and is allowed from memory. Embedded: the \
            limiter keeps the buckets. Leased: it spends leased tokens. Both decide yes or no; with balance, a \
            decision also returns the remaining tokens and the retry time. Through RateLimiter: the same \
            decision by tryAcquire, which reads the clock itself. Names are drawn in advance and stored \
            contiguously, in the order of use. The slowest first request is the maximum processor time of any \
            organization's first request. For each organization, the fastest of four rounds counts, to exclude \
            interference by other processes.
            """)

    @OptionGroup var options: RunOptions
    @Option(help: ArgumentHelp("Measure only rows whose name contains this text.", valueName: "text")) var only: String?

    static let columns: [Metric] = [
        .nanosecondsPerDecision, .decisionsPerSecond, .allocatedBytes, .bytesPerOrganization,
        .slowestNewcomerMicroseconds,
    ]

    func run() async throws {
        let checked = try options.checked("engine", standard: .init(seconds: 1, repetitions: 3))
        guard checked.seconds <= 30 else {
            throw PerfError(
                "--duration is '\(options.duration ?? "")': use at most 30s, or leased rows run out of tokens", .usage)
        }
        let cores = ProcessInfo.processInfo.activeProcessorCount
        let mixes = try chosen(Self.mixes(cores: cores, isSmoke: options.smoke))
        var result = PerfResult(
            kind: "engine", settings: ["seconds": "\(checked.seconds)", "repetitions": "\(checked.repetitions)"],
            machine: await Machine.current())
        result.rows = mixes.map { .init(name: $0.name, samples: []) }
        let progress = Progress(steps: checked.repetitions * mixes.count)
        for _ in 1...checked.repetitions {
            for (index, mix) in mixes.enumerated() {
                progress.begin(mix.name)
                let run = EngineRun(
                    mix, seconds: checked.seconds, turns: options.smoke ? 1 << 14 : NameCycle.usualTurns,
                    timesFirstRequests: !options.smoke)
                result.rows[index].samples.append(try await run.run())
                try Task.checkCancellation()
            }
        }
        progress.end()
        try options.deliver(result, columns: Self.columns, comparedWith: checked.old)
        if options.smoke { try Self.checkCounts(result) }
    }

    /// The mixes selected with `--only`.
    private func chosen(_ mixes: [EngineRun.Mix]) throws(PerfError) -> [EngineRun.Mix] {
        guard let only else { return mixes }
        let chosen = mixes.filter { $0.name.contains(only) }
        guard !chosen.isEmpty else {
            throw PerfError(
                "--only is '\(only)': no row has that in its name; use part of a name, such as '\(mixes[0].name)'",
                .usage)
        }
        return chosen
    }

    /// All mixes of kind, organizations, skew and threads, from one thread to one per core.
    static func mixes(cores: Int, isSmoke: Bool) -> [EngineRun.Mix] {
        var threadCounts: [Int] = []
        var threads = 1
        while threads < cores {
            threadCounts.append(threads)
            threads *= 2
        }
        threadCounts.append(cores)
        let spreads: [(organizations: Int, skew: Double)] =
            isSmoke ? [(1, 0), (100_000, 1)] : [(1, 0), (10_000, 0), (10_000, 1), (1_000_000, 0), (1_000_000, 1)]
        return EngineRun.Kind.allCases.flatMap { kind in
            spreads.flatMap { spread in
                threadCounts.map {
                    EngineRun.Mix(
                        kind: kind, organizations: spread.organizations, skew: spread.skew, threads: $0)
                }
            }
        }
    }

    /// The maximum memory of an organization with a 36-byte name and a lease, in bytes as the allocator counts.
    static let mostBytes = 240.0

    /// Checks the counts of a smoke run: decisions allocate nothing, and an organization takes at most ``mostBytes``.
    static func checkCounts(_ result: PerfResult) throws(PerfError) {
        for row in result.rows {
            if let bytes = row[.allocatedBytes], bytes > 0 {
                throw PerfError("\(row.name): a decision allocates \(bytes) bytes; expected 0", .wrongCount)
            }
            if let bytes = row[.bytesPerOrganization], bytes > mostBytes {
                throw PerfError(
                    "\(row.name): an organization takes \(bytes) bytes; expected at most \(mostBytes)", .wrongCount)
            }
        }
    }
}
