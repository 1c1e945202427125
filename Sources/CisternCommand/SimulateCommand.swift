internal import ArgumentParser
internal import Cistern
internal import CisternSimulation
internal import Foundation

/// `cistern simulate`: runs one simulated fleet or thousands of small ones, and reports violated invariants.
struct SimulateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Run the limiter in a simulated fleet and check every promise.",
        discussion: """
            Simulates one world in detail from the flags below, or with --seeds many small worlds, each generated from \
            its seed. The same seed gives the same output on every run. Exit codes: 0; 1 if a promise was broken, with \
            the command that reproduces it; 64 for an invalid argument.
            """)

    @OptionGroup var options: SimulateOptions

    func run() async throws {
        do {
            if let seeds = try options.seedRange() {
                try await sweep(seeds)
            } else {
                try simulate()
            }
        } catch let error as FlagError {
            throw Exit.say(error.description, code: .usage)
        }
    }

    // MARK: One world

    private func simulate() throws {
        let seed = try options.chosenSeed()
        let policies = try options.policies()
        let settings = try policies.map { try options.settings(seed: seed, policy: $0) }
        if !options.json { say("seed \(seed)") }
        var report = SimulationReport(seed: seed)
        let simulated = settings.reduce(0) { $0 + $1.durationMilliseconds }
        var progress = SimulationProgress(total: 100 * settings.count, isLong: simulated >= 600_000)
        for (index, world) in settings.enumerated() {
            report.add(World(world).run { progress.advance(to: 100 * index + Int(100 * $0)) })
        }
        progress.finish()
        say(options.json ? try report.json : report.table)
        try fail(report.broken, replay: options.replay(seed: seed))
    }

    // MARK: Many worlds

    private func sweep(_ seeds: ClosedRange<UInt64>) async throws {
        let faults = try options.chosenFaults()
        if !options.json {
            say("seeds \(seeds.lowerBound)..\(seeds.upperBound), faults \(faults.rawValue)")
            // A single seed also gets a description of its world.
            if seeds.count == 1 {
                say(try WorldSettings.small(seed: seeds.lowerBound, faults: faults).summary)
            }
        }
        var summary = SweepSummary(seeds: seeds, faults: faults)
        var progress = SimulationProgress(total: seeds.count, isLong: seeds.count >= 1000)
        // Batches of 16 worlds per core. Outcomes are added in seed order, so that timing does not change the output.
        let width = UInt64(max(1, ProcessInfo.processInfo.activeProcessorCount) * 16)
        var first = seeds.lowerBound
        while first <= seeds.upperBound {
            let last = min(seeds.upperBound, first + (width - 1))
            for outcome in try await Self.run(first...last, faults: faults) { summary.add(outcome) }
            progress.advance(to: Int(last - seeds.lowerBound) + 1)
            guard last < seeds.upperBound else { break }
            first = last + 1
        }
        progress.finish()
        say(options.json ? try summary.json : summary.text)
        let seed = summary.broken.first?.seed ?? 0
        try fail(
            summary.broken.first, replay: "cistern simulate --seeds \(seed)..\(seed) --faults \(faults.rawValue)")
    }

    private static func run(_ seeds: ClosedRange<UInt64>, faults: FaultKind) async throws -> [Outcome] {
        try await withThrowingTaskGroup(of: Outcome.self) { group in
            for seed in seeds {
                group.addTask { World(try WorldSettings.small(seed: seed, faults: faults)).run() }
            }
            return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.seed < $1.seed }
        }
    }

    /// Writes a line unbuffered, so that the seed is visible even if the run then fails.
    private func say(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }

    private func fail(_ outcome: Outcome?, replay: String) throws {
        guard let outcome, let violation = outcome.violations.first else { return }
        throw Exit.say(Self.describe(violation, policy: outcome.policy, replay: replay), code: .broken)
    }

    static func describe(_ violation: Violation, policy: Policy, replay: String) -> String {
        let time = String(format: "%.6f", violation.time.seconds)
        return """
            broken promise of \(policy.rawValue) at \(time) s, \(violation.checker): \(violation.what)
            cistern: reproduce it with: \(replay)
            """
    }
}
