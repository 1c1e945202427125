import Cistern
import CisternProcesses
import CisternServer
import CisternTesting
import Foundation
import Testing

@Suite("cistern tune")
struct TuneTests {
    /// A workload that is quick to simulate, with some settings fixed and not searched.
    private static let small = [
        "--servers", "2", "--capacity", "50", "--refill-per-second", "50", "--load", "0.8", "--duration", "5s",
        "--lease-idle", "250ms", "--lease-alone", "2", "--lease-minimum", "5",
    ]

    private func run(_ arguments: [String]) async throws -> (code: Int32, text: String) {
        let process = try CisternProcess.run(["tune"] + arguments)
        return (try await process.exitCode(within: 120), process.text)
    }

    private func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    // MARK: A workload in flags

    @Test("the command shows the trade-off, marks and explains a recommendation, and prints the same on every run")
    func table() async throws {
        let first = try await run(Self.small)
        let again = try await run(Self.small)
        #expect(first.code == 0, "\(first.text)")
        #expect(first == again)
        let rows = first.text.split(separator: "\n").drop { !$0.hasPrefix("LEASES") }.prefix {
            !$0.hasPrefix("Recommended")
        }
        #expect(Set(rows.map(\.count)).count == 1, "the columns are aligned")
        #expect(rows.dropFirst().count { $0.hasPrefix("recommended") } == 1)
        #expect(rows.dropFirst().count { $0.prefix(24).contains("default") } == 1)
        #expect(rows.dropFirst().allSatisfy { $0.hasSuffix(" 0") }, "no choice exceeds the limit")
        #expect(first.text.contains("\nRecommended"))
        #expect(first.text.contains("\nservers                2  flag\n"), "\(first.text)")
        #expect(first.text.contains("\nround-trip           1ms  default\n"))
        #expect(first.text.contains("\n# cistern tune: servers 2, "))
    }

    @Test("the command writes settings that a server accepts, and a self-contained HTML page")
    func files() async throws {
        let folder = try TemporaryDirectory()
        let (file, page) = ("\(folder.path)/leases.yaml", "\(folder.path)/tune.html")
        let given = ["--clock-drift", "30", "--output", file, "--report", page]
        let (code, text) = try await run(Self.small + given)
        #expect(code == 0, "\(text)")
        #expect(!text.contains("leaseHorizon"), "the settings are in the file")
        let settings = try ServerSettings(flags: [:], environment: [:], configPath: file)
        #expect(settings.limiter.lease.clockDriftPerMille == 30)
        let marked = try #require(text.split(separator: "\n").first { $0.hasPrefix("recommended") })
        let horizon = settings.limiter.lease.horizonMilliseconds
        #expect(marked.contains(" \(horizon)ms "))
        let html = try String(contentsOfFile: page, encoding: .utf8)
        #expect(html.matches(of: /<svg\b/).count == 2)
        #expect(html.contains(">recommended") && html.contains("leaseHorizon: \(horizon)ms"))
        for word in ["http://", "https://", "<script", "<link", "@import", "src=", "url("] {
            #expect(!html.contains(word), "\(word)")
        }
        #expect(!html.contains("=\"nan") && !html.contains("inf"))
    }

    @Test("the command prints one JSON object with the figures, their sources and the settings")
    func json() async throws {
        let (code, text) = try await run(Self.small + ["--json"])
        #expect(code == 0, "\(text)")
        let report = try object(text)
        #expect(report["version"] as? Int == 1)
        let rows = try #require(report["rows"] as? [[String: Any]])
        let recommended = try #require(rows.first { $0["isRecommended"] as? Bool == true })
        #expect(rows.count { $0["isDefault"] as? Bool == true } == 1)
        #expect(rows.allSatisfy { $0["peakOverAdmissionPercent"] as? Double == 0 })
        let settings = try #require(report["settings"] as? [String: String])
        #expect(settings["leaseHorizon"] == "\(recommended["horizonMilliseconds"] as? Int ?? 0)ms")
        let figures = try #require(report["workload"] as? [[String: String]])
        #expect(figures.contains(["name": "capacity", "value": "50", "source": "flag"]))
        #expect(figures.contains(["name": "organizations", "value": "1", "source": "default"]))
    }

    @Test("the command stays within the budget, or names the smallest budget that is possible")
    func budget() async throws {
        let (code, text) = try await run(Self.small + ["--budget", "12", "--json"])
        #expect(code == 0, "\(text)")
        let rows = try #require(try object(text)["rows"] as? [[String: Any]])
        let within = rows.filter { ($0["storeCallsPerSecond"] as? Double ?? .infinity) <= 12 }
        let recommended = try #require(within.first { $0["isRecommended"] as? Bool == true })
        let least = within.compactMap { $0["underAdmissionPercent"] as? Double }.min() ?? 0
        #expect((recommended["underAdmissionPercent"] as? Double ?? .infinity) <= least + 0.05)

        let folder = try TemporaryDirectory()
        let file = "\(folder.path)/leases.yaml"
        let (failed, words) = try await run(Self.small + ["--budget", "0.01", "--output", file])
        #expect(failed == 64)
        #expect(words.contains("No choice stays within the budget"))
        #expect(
            words.firstMatch(of: /cistern: --budget is '0.01': use \d+ or more, or fewer --servers/) != nil, "\(words)")
        #expect(!FileManager.default.fileExists(atPath: file))
    }

    @Test(
        "the command rejects an invalid flag, and names the flag, its value and the remedy",
        arguments: [
            (["--servers", "0"], "--servers is '0': use a whole number from 1 to 256"),
            (["--organizations", "many"], "--organizations is 'many': use a whole number from 1 to 1000000"),
            (["--skew=-1"], "--skew is '-1': use a number from 0 to 3"),
            (["--load", "0"], "--load is '0': use a number from 0.001 to 1000"),
            (["--capacity", "1e3"], "--capacity is '1e3': use a whole number of tokens"),
            (["--refill-per-second", "0"], "--refill-per-second is '0': use a number of tokens a second above 0"),
            (["--round-trip", "1"], "--round-trip is '1': use a time from 0.01ms to 5s, such as 0.5ms"),
            (["--round-trip", "80ms"], "--round-trip is '80ms': use a longer --store-timeout"),
            (["--budget", "0"], "--budget is '0': use a number from 0.001 to 1000000000"),
            (["--workload", "calm"], "--workload is 'calm': use one of even, skewed, bursty, moving, flash, slow"),
            (["--seed", "x"], "--seed is 'x': use a whole number from 0 to 18446744073709551615"),
            (["--duration", "1s"], "--duration is '1s': use a time from 5s to 1h"),
            (["--lease-horizon", "9"], "leaseHorizon is '9': use a time from 10ms to 10s"),
            (["--refill-per-second", "1000000000"], "the workload is too large to simulate a hundred times: use a"),
            (["--from", "8081"], "--from is '8081': use the address of a server's admin port, such as http://127"),
            (["--token-file", "token"], "--token-file is 'token': it needs --from"),
            (
                ["--from", "http://127.0.0.1:1", "--token-file", "/nowhere"],
                "--token-file is '/nowhere': the file cannot be read"
            ),
            (["--from", "http://127.0.0.1:1", "--servers", "0"], "--servers is '0': use a whole number"),
        ])
    func badArguments(arguments: [String], message: String) async throws {
        let (code, text) = try await run(arguments)
        #expect(code == 64)
        #expect(text.hasPrefix("cistern: \(message)"), "\(text)")
    }

    @Test("the command names the file that it cannot write")
    func badFiles() async throws {
        for flag in ["output", "report"] {
            let (code, text) = try await run(Self.small + ["--\(flag)", "/nowhere/file"])
            #expect(code == 64)
            #expect(text.contains("cistern: --\(flag) is '/nowhere/file': the file cannot be written"), "\(text)")
        }
    }

    // MARK: Figures of a running server

    private static func status(store: String = "redis", allowed: Double = 40, denied: Double = 10) -> String {
        """
        {"version":1,"server":"4711-abc","store":"\(store)","topology":"ring","failurePolicy":"open","uptimeSeconds":9,
        "organizations":6,"evictions":0,"connections":1,
        "limit":{"capacity":20,"refill":"630/m","refillPerSecond":10.5,"shadow":false},
        "limits":{"organizations":1,"overrides":1,"file":null,"rejected":null},
        "lease":{"horizonMilliseconds":200,"durationMilliseconds":1000,"prefetchMilliseconds":30},
        "nodes":[{"name":"a","state":"up","latencyMilliseconds":{"p50":0.4,"p99":1}},
        {"name":"b","state":"up","latencyMilliseconds":{"p50":0.8,"p99":2}},
        {"name":"c","state":"down","latencyMilliseconds":null}],
        "sample":{"at":1,"allowed":\(allowed),"denied":\(denied),"unmetered":0,"refused":0,"p50":null}}
        """
    }

    private static func busiest(_ rates: [Double]) -> String {
        let entries = rates.enumerated().map {
            #"{"organization":"org:\#($0.offset + 1)","perSecond":\#($0.element),"errorPerSecond":0}"#
        }
        return #"{"version":1,"sort":"allowed","organizations":[\#(entries.joined(separator: ","))]}"#
    }

    private static func lessee(_ name: String) -> String {
        #"{"name":"\#(name)","isThisServer":false,"tokens":1,"endsInMilliseconds":1,"demandPerSecond":1,"#
            + #""tricklePerSecond":0,"askedMillisecondsAgo":1}"#
    }

    @Sendable private static func answer(_ target: String) -> StubHTTPServer.Answer {
        switch target {
        case "/v1/status": (200, status())
        case "/v1/organizations?sort=allowed&limit=100": (200, busiest([24, 12, 8, 6, 4.8, 4]))
        case "/v1/organizations?sort=denied&limit=100": (200, busiest([]))
        case "/v1/organizations/org%3A1":
            (
                200,
                #"{"version":1,"store":{"node":"a","lessees":["#
                    + ["x", "y", "z"].map(lessee).joined(separator: ",") + "]}}"
            )
        default: (404, "{}")
        }
    }

    private static let quick = [
        "--duration", "5s", "--lease-idle", "250ms", "--lease-alone", "2", "--lease-minimum", "5", "--json",
    ]

    @Test("the command takes figures from a server and names that source, sends the token, and prefers flags")
    func from() async throws {
        let server = try StubHTTPServer(Self.answer)
        let folder = try TemporaryDirectory()
        try folder.write("secret\n", to: "token")
        let address = "http://127.0.0.1:\(server.port)"
        let (code, text) = try await run(
            ["--from", address + "/", "--token-file", "\(folder.path)/token", "--capacity", "30"] + Self.quick)
        #expect(code == 0, "\(text)")
        let report = try object(text)
        let figures = try #require(report["workload"] as? [[String: String]])
        let value = { (name: String) in figures.first { $0["name"] == name }.map { [$0["value"], $0["source"]] } }
        #expect(value("servers") == ["3", "\(address)/"])
        #expect(value("organizations") == ["6", "\(address)/"])
        #expect(value("skew") == ["1", "fitted to the busiest, \(address)/"])
        #expect(value("capacity") == ["30", "flag"])
        #expect(value("refill") == ["630/m", "\(address)/"])
        #expect(value("round-trip") == ["0.80ms", "slowest node's median, \(address)/"])
        // 3 servers get 50 requests a second each, and 6 buckets refill 63 tokens a second.
        #expect(value("load") == ["2.381", "its requests times the servers, \(address)/"])
        #expect(value("workload") == ["even", "default"])
        let rows = try #require(report["rows"] as? [[String: Any]])
        let now = try #require(rows.first { $0["isNow"] as? Bool == true })
        #expect(now["horizonMilliseconds"] as? Int == 200 && now["prefetchMilliseconds"] as? Int == 30)
        #expect(rows.contains { $0["isDefault"] as? Bool == true && $0["isNow"] as? Bool == false })
        #expect((report["notes"] as? [String])?.first?.hasPrefix("2 organizations have limits of their own") == true)
        #expect(server.requests.count == 4)
        #expect(server.requests.allSatisfy { $0.lowercased().contains("\r\nauthorization: bearer secret\r\n") })
    }

    @Test(
        "the command names the reason and the remedy if a server's figures cannot be read",
        arguments: [
            (401, "{}", false, "requires a token: write it to a file, and pass the file with --token-file"),
            (401, "{}", true, "rejects the token: correct the token in the file of --token-file"),
            (404, "{}", false, "answers /v1/status with 404: correct --from; it is the address of the admin port"),
            (302, "{}", false, "answers /v1/status with 302: correct --from"),
            (429, "{}", false, "gets too many requests: try again in a minute"),
            (200, "<html>", false, "answers /v1/status with something other than Cistern's JSON: correct --from"),
            (200, status().replacing(#""version":1"#, with: #""version":2"#), false, "answers in version 2"),
            (
                200, status(store: "memory"), false,
                "keeps its buckets itself (store memory) and leases nothing, so there is nothing to tune"
            ),
        ])
    func refused(status: Int, body: String, hasToken: Bool, message: String) async throws {
        let server = try StubHTTPServer { _ in (status, body) }
        let folder = try TemporaryDirectory()
        try folder.write("secret", to: "token")
        let token = hasToken ? ["--token-file", "\(folder.path)/token"] : []
        let (code, text) = try await run(["--from", "http://127.0.0.1:\(server.port)"] + token)
        #expect(code == 69)
        #expect(text.hasPrefix("cistern: http://127.0.0.1:\(server.port) \(message)"), "\(text)")
    }

    @Test("the command reports that no server listens")
    func unreachable() async throws {
        let port = try ReservedPort()
        let (code, text) = try await run(["--from", "http://127.0.0.1:\(port.number)"])
        #expect(code == 69)
        #expect(
            text.hasPrefix(
                "cistern: http://127.0.0.1:\(port.number) cannot be reached: Connection refused: start the server there"
            ),
            "\(text)")
    }

    @Test("the command reports that the data port is not the admin port, although both answer 401")
    func dataPort() async throws {
        let server = try await CisternProcess()
        let (code, text) = try await run(["--from", "http://127.0.0.1:\(server.port)"])
        #expect(code == 69)
        #expect(
            text.contains(" answers /v1/status with 401: correct --from; it is the address of the admin port"),
            "\(text)")
    }

    @Test("the command reports that an idle server has no load to measure")
    func idle() async throws {
        let server = try StubHTTPServer { target in
            target == "/v1/status" ? (200, Self.status(allowed: 0, denied: 0)) : (200, Self.busiest([]))
        }
        let (code, text) = try await run(["--from", "http://127.0.0.1:\(server.port)"])
        #expect(code == 64)
        #expect(text.contains("has no traffic at the moment to derive --load from: set --load"), "\(text)")
    }
}
