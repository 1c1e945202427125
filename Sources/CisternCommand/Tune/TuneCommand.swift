internal import ArgumentParser
internal import Cistern
internal import CisternSimulation
internal import Foundation

/// `cistern tune`: searches lease settings for a workload in simulated fleets.
struct TuneCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune",
        abstract: "Search the lease settings that suit a workload, in a simulated fleet.",
        discussion: """
            Flags describe the workload; --from takes the other figures from a running server. Lease settings given as \
            flags stay fixed, and the search varies the others. The output shows the Pareto-optimal choices and \
            recommends one. With --budget it recommends the choice within the budget that loses least. Without it, \
            the choice that loses least while the store is 90 % idle. If there is none, it recommends the knee: the \
            lowest sum of lost %, half a point for each doubling of store calls, and half a point for each round trip \
            of p99 wait. The same seed gives the same output on every run. Exit codes: 0; 64 for an invalid \
            argument, or a budget that no choice meets; 69 if the server cannot be reached or leases nothing.
            """)

    @OptionGroup var options: TuneOptions

    func run() async throws {
        do {
            let report = try await search()
            try deliver(report)
        } catch let error as FlagError {
            throw Exit.say(error.description, code: .usage)
        } catch let failure as AdminClient.Failure {
            throw Exit.say(failure.description, code: .unavailable)
        } catch let broken as TuneSearch.ViolationError {
            let what = SimulateCommand.describe(
                broken.violation, policy: .cistern,
                replay: "the same command (horizon \(broken.lease.horizonMilliseconds)ms)")
            throw Exit.say(what, code: .broken)
        }
    }

    private func search() async throws -> TuneReport {
        let seed = try options.chosenSeed()
        let duration = try options.chosenDuration()
        let client = try options.client()
        // Reports invalid flags before it contacts the server.
        if client != nil { _ = try options.chosenWorkload(nil) }
        let server = try await client?.figures()
        let workload = try options.chosenWorkload(server)
        let limiter = try options.startingSettings(server, roundTripMilliseconds: workload.roundTripMilliseconds)
        let scale = try TuneScale(workload, durationMilliseconds: duration)
        let kept = Set(options.lease.values.keys)
        let space = LeaseSearchSpace(
            base: limiter.lease, kept: kept, roundTripMilliseconds: workload.roundTripMilliseconds)
        let standard = try options.startingSettings(nil, roundTripMilliseconds: workload.roundTripMilliseconds).lease
        let search = TuneSearch(workload: workload, scale: scale, space: space, limiter: limiter, seed: seed)
        var progress = SimulationProgress(total: 100, isLong: scale.work > TuneScale.targetWork * 2)
        let rows = try await search.run(besides: [standard]) { progress.advance(to: $0 * 100 / $1) }
        progress.finish()
        return TuneReport(
            seed: seed, workload: workload, scale: scale, tradeOff: search.tradeOff(rows),
            named: (server == nil ? [] : [("now", limiter.lease)]) + [("default", standard)], kept: kept,
            tried: rows.count)
    }

    private func deliver(_ report: TuneReport) throws {
        let isWithinBudget = report.tradeOff.recommended != nil
        if options.json {
            say(try report.json)
        } else {
            say(report.text)
            if options.output == nil, isWithinBudget { say("\n\(report.yaml.dropLast())") }
        }
        if let path = options.report { try write(TunePage(report).html, to: path, flag: "report") }
        guard isWithinBudget else {
            throw FlagError(
                "budget", options.budget ?? "",
                "use \(Int(report.recommended.storeCallsPerSecond.rounded(.up))) or more, or fewer --servers "
                    + "or --organizations")
        }
        if let path = options.output { try write(report.yaml, to: path, flag: "output") }
    }

    /// Writes unbuffered, so that an error message follows the output.
    private func say(_ text: String) {
        FileHandle.standardOutput.write(Data("\(text)\n".utf8))
    }

    private func write(_ text: String, to path: String, flag: String) throws(FlagError) {
        do {
            try text.write(toFile: path, atomically: true, encoding: .utf8)
        } catch {
            throw FlagError(flag, path, "the file cannot be written: use a path in an existing, writable folder")
        }
    }
}
