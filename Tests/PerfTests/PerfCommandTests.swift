import CisternProcesses
import CisternTesting
import Foundation
import Testing

@testable import Perf

/// The command from the same build as the tests, run as its users run it, for a few seconds in total.
@Suite("The perf command")
struct PerfCommandTests {
    private func run(_ arguments: [String], environment: [String: String] = [:]) throws -> ChildProcess {
        try ChildProcess(BuiltProduct.path("perf"), arguments, environment: environment)
    }

    private func finished(_ arguments: [String]) async throws -> (code: Int32, text: String) {
        let process = try run(arguments)
        return (try await process.exitCode(within: 120), process.text)
    }

    @Test("perf measures each tier, and leaves only the requested files behind")
    func tiers() async throws {
        let folder = try TemporaryDirectory()
        let (json, page) = ("\(folder.path)/t.json", "\(folder.path)/t.html")
        let (code, text) = try await finished(["--smoke", "--json", json, "--report", page])
        #expect(code == 0, "\(text)")
        let result = try PerfResult.read(json)
        #expect(
            result.rows.map(\.name)
                == Tier.Interface.allCases.flatMap { door in Tier.allCases.map { $0.rowName(door) } })
        for row in result.rows {
            #expect((row.samples.first?.decisions ?? 0) > 0)
            #expect(row.samples.first?.percentiles.isEmpty == false)
        }
        // The reference tier must over-admit, since its four calls race. On a busy machine, the race may not occur in
        // every run.
        var overAdmission = result.rows[0][.overAdmittedTokens] ?? 0
        for _ in 0..<5 where overAdmission == 0 {
            let (code, text) = try await finished(
                ["--smoke", "--tiers", "reference", "--through", "library", "--json", json])
            #expect(code == 0, "\(text)")
            overAdmission = try PerfResult.read(json).rows[0][.overAdmittedTokens] ?? 0
        }
        #expect(overAdmission > 0)
        #expect(try String(contentsOfFile: page, encoding: .utf8).contains("<svg"))
        #expect(text.contains("store calls/1000"))
        #expect(!text.contains("decisions/s"), "a smoke run shows only counts")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["t.html", "t.json"])
    }

    @Test("perf measures allocations and memory of the engine")
    func engine() async throws {
        let folder = try TemporaryDirectory()
        let (code, text) = try await finished(["engine", "--smoke", "--json", "\(folder.path)/e.json"])
        #expect(code == 0, "\(text)")
        let result = try PerfResult.read("\(folder.path)/e.json")
        #expect(result.rows.count >= 4)
        #expect(result.rows.allSatisfy { $0[.allocatedBytes] == 0 })
        #expect(result.rows.contains { (50...1000).contains($0[.bytesPerOrganization] ?? 0) })
    }

    @Test("perf measures only the requested rows of the engine, and compares them with an earlier result")
    func engineRows() async throws {
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/e.json"
        let engine = ["engine", "--smoke", "--only"]
        let (code, text) = try await finished(engine + ["d, 1, 1", "--json", path])
        #expect(code == 0, "\(text)")
        #expect(try PerfResult.read(path).rows.map(\.name) == ["embedded, 1, 1 thread", "leased, 1, 1 thread"])
        let (again, compared) = try await finished(engine + ["leased, 1, 1", "--compare", path])
        #expect(again == 0, "\(compared)")
        #expect(compared.contains("only in one of the two: embedded, 1, 1 thread"), "\(compared)")
    }

    @Test("perf measures the effect of lease settings on real servers")
    func leases() async throws {
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/l.json"
        let (code, text) = try await finished(
            ["leases", "--smoke", "--organizations", "2", "--spread", "moving", "--json", path])
        #expect(code == 0, "\(text)")
        let row = try #require(try PerfResult.read(path).rows.first)
        #expect(row.name == "horizon 250 ms, duration 2 s")
        #expect(row[.overAdmittedTokens] == 0)
        #expect((row[.storeCallsPerThousand] ?? 0) > 0)
        #expect((row[.outstandingTokens] ?? 0) > 0)
    }

    @Test("perf drives a running server in a closed and an open loop, and counts what the server counts")
    func http() async throws {
        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"),
            [
                "serve", "--port", "0", "--admin-port", "off", "--capacity", "1000000000", "--refill-per-second",
                "100000000",
            ])
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/h.json"
        let url = "http://127.0.0.1:\(server.port)/chat"
        var decisions = 0
        for rate in [[], ["--rate", "500"]] {
            let (code, text) = try await finished(["http", "--smoke", "--url", url, "--json", path] + rate)
            #expect(code == 0, "\(text)")
            decisions += try #require(try PerfResult.read(path).rows.first?.samples.first).decisions
        }
        let open = try #require(try PerfResult.read(path).rows.first)
        #expect(open.name == "open loop, 500/s")
        // One second at 500 requests a second, however busy the machine is.
        #expect((490...2000).contains(open.samples[0].decisions))
        let page = try Socket(port: server.port).exchange(HTTPRequestText.plain("GET", "/metrics")).body
        let counted = page.firstMatch(of: /cistern_decisions_total\{outcome="allowed"\} (\d+)/).flatMap { Int($0.1) }
        #expect(counted == decisions)
    }

    @Test("perf keeps idle connections open beside those that send")
    func idleConnections() async throws {
        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"), ["serve", "--port", "0", "--admin-port", "off"])
        let process = try run([
            "http", "--smoke", "--duration", "5s", "--connections", "2", "--idle", "40", "--rate", "50",
            "--url", "http://127.0.0.1:\(server.port)/chat",
        ])
        // 40 idle connections, 2 that send, and this test's own connection.
        try await eventually("all connections to be open") {
            let page = try Socket(port: server.port).exchange(HTTPRequestText.plain("GET", "/metrics")).body
            return page.contains("cistern_http_connections 43\n")
        }
        let code = try await process.exitCode(within: 60)
        #expect(code == 0, "\(process.text)")
    }

    @Test("perf measures the latency of an open loop from the scheduled time of each request")
    func openLoop() async throws {
        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"),
            [
                "serve", "--port", "0", "--admin-port", "off", "--capacity", "1000000000", "--refill-per-second",
                "100000000",
            ])
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/h.json"
        let process = try run([
            "http", "--smoke", "--duration", "3s", "--connections", "2", "--rate", "200", "--json", path,
            "--url", "http://127.0.0.1:\(server.port)/chat",
        ])
        try await eventually("requests to arrive") {
            let page = try Socket(port: server.port).exchange(HTTPRequestText.plain("GET", "/metrics")).body
            return !page.contains("cistern_decisions_total{outcome=\"allowed\"} 0\n")
        }
        // The server is paused: two requests are in flight, and hundreds of due requests wait for them.
        server.process.signal(SIGSTOP)
        let stopped = ContinuousClock.now
        try await Task.sleep(for: .seconds(1))
        let stood = (ContinuousClock.now - stopped) / .seconds(1)
        server.process.signal(SIGCONT)
        #expect(try await process.exitCode(within: 60) == 0, "\(process.text)")
        let sample = try #require(try PerfResult.read(path).rows.first?.samples.first)
        #expect((sample.percentiles.last?.microseconds ?? 0) > 0.9e6 * stood)
        // Of some 600 requests, 200 were due in the pause and waited 0.5 s on average. Only two were in flight before.
        #expect((sample.percentiles.first { $0.percent == 90 }?.microseconds ?? 0) > 0.3e6)
    }

    @Test("perf exits with 69 from a run through the library if its own Redis dies")
    func storeDies() async throws {
        let process = try run(["--smoke", "--tiers", "cache,cluster", "--through", "library", "--duration", "60s"])
        var children: [Int32] = []
        try await eventually("a Redis of its own") {
            children = Self.children(of: process.processIdentifier)
            return children.count == 1 && process.text.contains("cache, library")
        }
        // Wait until the load runs: the first trial of a node writes no record.
        try await eventually("store calls") {
            guard let port = Self.port(of: children[0]) else { return false }
            let probe = try Socket(port: port)
            try probe.send("INFO commandstats\r\n")
            return String(decoding: try probe.receive(), as: UTF8.self).contains("cmdstat_hset")
        }
        kill(children[0], SIGKILL)
        #expect(try await process.exitCode(within: 60) == 69)
        #expect(process.text.contains("perf: redis-server ended in the middle of the run"), "\(process.text)")
    }

    /// The port of a redis-server, from its process title: redis-server 127.0.0.1:PORT.
    private static func port(of process: Int32) -> Int? {
        let text = try? String(contentsOfFile: "/proc/\(process)/cmdline", encoding: .utf8)
        return text?.split(separator: ":").last.flatMap { Int($0.prefix { $0.isNumber }) }
    }

    @Test("perf exits with 69 and names the server if the server dies during the run")
    func serverDies() async throws {
        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"), ["serve", "--port", "0", "--admin-port", "off"])
        let process = try run(
            ["http", "--smoke", "--duration", "30s", "--url", "http://127.0.0.1:\(server.port)/chat"])
        try await eventually("the load to begin") { process.text.contains("closed loop") }
        try await eventually("requests to arrive") {
            let page = try Socket(port: server.port).exchange(HTTPRequestText.plain("GET", "/metrics")).body
            return !page.contains("cistern_decisions_total{outcome=\"allowed\"} 0\n")
        }
        server.process.signal(SIGKILL)
        #expect(try await process.exitCode(within: 60) == 69)
        #expect(process.text.contains("perf: http://127.0.0.1:\(server.port)/chat"), "\(process.text)")
        #expect(process.text.contains("in the middle of the run"), "\(process.text)")
    }

    @Test("perf stops the processes that it has started when it is interrupted")
    func interrupted() async throws {
        let process = try run(["http", "--smoke", "--nodes", "1", "--duration", "60s"])
        var children: [Int32] = []
        try await eventually("a server and a Redis of its own") {
            children = Self.children(of: process.processIdentifier)
            return children.count == 2 && process.text.contains("closed loop")
        }
        process.signal(SIGINT)
        #expect(try await process.exitCode(within: 60) == 130)
        #expect(process.text.contains("perf: interrupted; all started processes have been stopped"))
        try await eventually("the end of what it started") { children.allSatisfy { kill($0, 0) != 0 } }
    }

    private static func children(of parent: Int32) -> [Int32] {
        // Linux lists the child processes by the thread that started them.
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(parent)/task")) ?? []
        return threads.flatMap { thread in
            let text = try? String(contentsOfFile: "/proc/\(parent)/task/\(thread)/children", encoding: .utf8)
            return (text ?? "").split(separator: " ").compactMap { Int32($0) }
        }
    }

    @Test("perf reports a port that is in use")
    func portTaken() async throws {
        let server = try await ListeningProcess(
            BuiltProduct.path("cistern"), ["serve", "--port", "0", "--admin-port", "off"])
        let (code, text) = try await finished(["http", "--smoke", "--port", "\(server.port)"])
        #expect(code == 69)
        #expect(text.contains("the port is in use"), "\(text)")
    }

    @Test(
        "perf rejects an invalid flag, and names the flag, its value and the remedy",
        arguments: [
            (["--repeat", "0"], 64, "--repeat is '0': use a whole number from 1 to 100"),
            (["--duration", "4"], 64, "--duration is '4': use a time from 10ms to 1h, such as 4s"),
            (["--skew", "x"], 64, "--skew is 'x': use a number from 0 to 3"),
            (
                ["--tiers", "best"], 64,
                "--tiers has 'best': use some of reference, single, cluster, cache, cluster + cache"
            ),
            (["--tiers", ""], 64, "--tiers is '': name at least one"),
            (["--json", "/tmp"], 64, "--json is '/tmp': that is a folder"),
            (["engine", "--duration", "1m"], 64, "--duration is '1m': use at most 30s"),
            (["engine", "--only", "hired"], 64, "--only is 'hired': no row has that in its name"),
            (["leases", "--connections", "1"], 64, "--connections is '1': use "),
            (["--through", "wall"], 64, "--through is 'wall': use library or http"),
            (["--json", "/nowhere/x.json"], 64, "--json is '/nowhere/x.json': /nowhere is not a writable folder"),
            (["--compare", "/nowhere/x.json"], 64, "--compare /nowhere/x.json cannot be read: "),
            (["http", "--url", "ftp://x"], 64, "--url is 'ftp://x': use http://HOST:PORT/PATH"),
            (["http", "--url", "http://127.0.0.1:1/", "--nodes", "1"], 64, "--nodes and --url do not go together"),
            (
                ["http", "--url", "http://127.0.0.1:1/"], 69,
                "cannot connect to http://127.0.0.1:1/: is a server listening"
            ),
            (["http", "--rate", "0"], 64, "--rate is '0': use a number from 1 to 1000000"),
            (
                ["http", "--connections", "100000", "--url", "http://127.0.0.1:1/"], 69,
                "100200 files and sockets are needed"
            ),
            (["http", "--capacity", "1.5"], 64, "--capacity is '1.5': use a whole number of tokens"),
            (["leases", "--spread", "odd"], 64, "--spread is 'odd': use one of even, moving"),
            (["leases", "--horizons", "1s", "--durations", "1s"], 64, "no horizon is at most half of a duration"),
            (["leases", "--horizons", "soon"], 64, "--horizons has 'soon': use times from 10ms to 10s with commas"),
            (
                ["leases", "--load", "100", "--organizations", "1000"], 64,
                "that makes 100000000 requests a second: use"
            ),
        ])
    func badArguments(arguments: [String], code: Int32, message: String) async throws {
        // A fixed descriptor limit, so that 100,000 connections exceed it on every machine.
        let command = "ulimit -n 4096; exec \"$0\" \"$@\""
        let process = try ChildProcess("/bin/sh", ["-c", command, BuiltProduct.path("perf")] + arguments + ["--smoke"])
        #expect(try await process.exitCode(within: 60) == code)
        #expect(
            process.text.hasPrefix("perf: \(message)") || process.text.contains("\nperf: \(message)"), "\(process.text)"
        )
    }

    @Test("perf names a missing program, and how to install it")
    func missingProgram() {
        let error = #expect(throws: ChildProcess.Failure.self) { try ChildProcess("redis-sorver", []) }
        #expect(
            error?.description == "redis-sorver is not installed: 'make install' or 'make install-test' installs it")
    }
}
