import CisternProcesses
import CisternSimulation
import CisternTesting
import Foundation
import Testing

@testable import CisternCommand

@Suite("cistern simulate")
struct SimulateTests {
    private func run(_ arguments: String...) async throws -> (code: Int32, text: String) {
        let process = try CisternProcess.run(["simulate"] + arguments)
        return (try await process.exitCode(within: 60), process.text)
    }

    @Test("the command prints the seed, then a row for each limiter, and the same output on every run")
    func table() async throws {
        let arguments = ["--seed", "7", "--policy", "all", "--duration", "2s"]
        let first = try await run(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
        let again = try await run(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5])
        #expect(first.code == 0)
        #expect(first == again)
        let lines = first.text.split(separator: "\n")
        #expect(lines.count == 6)
        #expect(lines.first == "seed 7")
        #expect(lines.dropFirst(2).map { $0.prefix { $0 != " " } } == Policy.allCases.map { Substring($0.rawValue) })
        #expect(Set(lines.dropFirst().map(\.count)).count == 1, "the columns are aligned")
    }

    @Test("the command chooses a seed if none is given, and prints it")
    func freshSeed() async throws {
        let first = try await run("--duration", "1s")
        #expect(first.code == 0)
        let seed = try #require(first.text.firstMatch(of: /^seed (\d+)\n/)?.1)
        let again = try await run("--duration", "1s", "--seed", String(seed))
        #expect(again.text == first.text)
    }

    @Test("the command prints JSON with the same figures")
    func json() async throws {
        let (code, text) = try await run("--seed", "7", "--workload", "bursty", "--duration", "5s", "--json")
        #expect(code == 0)
        let report = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(report["seed"] as? Int == 7)
        let worlds = try #require(report["worlds"] as? [[String: Any]])
        #expect(worlds.first?["peakOverAdmissionPercent"] as? Double == 0)
        #expect((worlds.first?["violations"] as? [Any])?.isEmpty == true)
        #expect((worlds.first?["requests"] as? Int ?? 0) > 1000)
    }

    @Test("the command sweeps over seeds, and prints a summary as text or JSON")
    func sweep() async throws {
        let (code, text) = try await run("--seeds", "1..20", "--faults", "all")
        #expect(code == 0)
        #expect(text.hasPrefix("seeds 1..20, faults all\n20 worlds, "))
        #expect(text.hasSuffix(": 0 with a broken promise\n"))
        let (_, json) = try await run("--seeds", "1..20", "--faults", "all", "--json")
        let summary = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        #expect(summary["worlds"] as? Int == 20)
        #expect((summary["broken"] as? [Any])?.isEmpty == true)
    }

    @Test("the command reports a violation and the command that reproduces it")
    func broken() {
        let violation = Violation(checker: "over-admission", time: 1_500_000_000, what: "org-0 was given too much")
        let text = SimulateCommand.describe(
            violation, policy: .cistern, replay: "cistern simulate --seeds 7..7 --faults all")
        #expect(
            text == """
                broken promise of cistern at 1.500000 s, over-admission: org-0 was given too much
                cistern: reproduce it with: cistern simulate --seeds 7..7 --faults all
                """)
        #expect(Exit.broken.rawValue == 1)
    }

    @Test(
        "the command rejects an invalid flag, and names the flag, its value and the remedy",
        arguments: [
            (["--seed", "x"], "--seed is 'x': use a whole number from 0 to 18446744073709551615"),
            (["--seeds", "5"], "--seeds is '5': use the first and the last, such as 1..10000"),
            (["--seeds", "9..1"], "--seeds is '9..1': use the first and the last, such as 1..10000"),
            (["--seeds", "1..9", "--seed", "1"], "--seed and --seeds do not go together: each seed draws a world"),
            (["--seeds", "1..9", "--servers", "3"], "--servers and --seeds do not go together: each seed draws"),
            (["--seeds", "1..9", "--lease-idle", "1s"], "--lease-idle and --seeds do not go together"),
            (["--refill-per-second", "1000000000"], "that makes 60000000000 requests: use a lower --load"),
            (["--servers", "0"], "--servers is '0': use a whole number from 1 to 2000"),
            (["--capacity", "1e3"], "--capacity is '1e3': use a whole number of tokens"),
            (["--refill-per-second", "0"], "--refill-per-second is '0': use a number of tokens a second above 0"),
            (
                ["--workload", "calm"],
                "--workload is 'calm': use one of even, skewed, bursty, moving, flash, slow, mixed"
            ),
            (["--faults", "some"], "--faults is 'some': use one of none, network, crash, clock, all"),
            (["--policy", "best"], "--policy is 'best': use one of cistern, write-behind, fixed-lease, per-request"),
            (["--duration", "30"], "--duration is '30': use a time from 1s to 24h"),
            (["--latency", "5"], "--latency is '5': use microseconds, such as 1000..20000"),
            (["--latency", "1000..60000"], "--latency is '1000..60000': use at most half of --store-timeout"),
            (["--duration", "3s", "--workload", "bursty"], "--duration is '3s': use 5s or more"),
            (["--policy", "write-behind", "--faults", "all"], "--policy write-behind does not support --faults"),
            (["--load", "0"], "--load is '0': use a number from 0.001 to 1000"),
            (["--lease-horizon", "9s"], "leaseHorizon is '9s': use at most half of leaseDuration, which is 2s"),
        ])
    func badArguments(arguments: [String], message: String) async throws {
        let process = try CisternProcess.run(["simulate"] + arguments)
        #expect(try await process.exitCode() == 64)
        #expect(process.text.hasPrefix("cistern: \(message)"), "\(process.text)")
    }
}
