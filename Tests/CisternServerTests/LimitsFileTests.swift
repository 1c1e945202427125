import CisternProcesses
import CisternTesting
import Foundation
import Testing

@testable import CisternServer

/// Limits that change without a restart, and the check of files without a server.
@Suite("The limits file of a running server")
struct LimitsReloadTests {
    private let folder: TemporaryDirectory
    private let path: String

    init() throws {
        folder = try TemporaryDirectory()
        path = folder.path + "/limits.yaml"
        try write("organizations:\n  acme: {capacity: 50, refillPerSecond: 5}\n")
    }

    private func write(_ text: String) throws {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
    }

    private func limit(_ server: CisternProcess, of organization: String = "acme") throws -> String? {
        try server.exchange(HTTPRequestText.chat(organization))["X-RateLimit-Limit"]
    }

    @Test("the file is reloaded when it changes, and applies to organizations in memory, too")
    func changes() async throws {
        let server = try await CisternProcess(["--limits", path])
        #expect(try limit(server) == "50" && limit(server, of: "other") == "100")
        try write(
            "default: {capacity: 9, refillPerSecond: 1}\norganizations:\n  acme: {capacity: 7, refillPerSecond: 1}\n")
        try await eventually("the new limit") { try limit(server) == "7" }
        #expect(try limit(server, of: "other") == "9")
        #expect(try server.metric(#"cistern_limits_file_reads_total{result="applied"}"#) == 1)
    }

    @Test("an invalid file is rejected as a whole; the old limits stay, and a metric and the log report it")
    func refused() async throws {
        let server = try await CisternProcess(["--limits", path])
        #expect(try limit(server) == "50")
        try write(
            "organizations:\n  acme: {capacity: 7, refillPerSecond: 1}\n  evil: {capacity: -1, refillPerSecond: 1}\n")
        server.process.signal(SIGHUP)
        try await eventually("the refusal") { try server.metric("cistern_limits_file_rejected") == 1 }
        #expect(try limit(server) == "50" && limit(server, of: "evil") == "100")
        try await eventually("the log to say so") {
            server.process.text.contains("limits.yaml:3: organizations.evil.capacity is -1")
        }
        try await eventually("the status to say so") {
            let limits = try server.admin.get("/v1/status").json["limits"] as? [String: Any]
            return (limits?["rejected"] as? String)?.contains("limits.yaml:3") == true
        }
        try FileManager.default.removeItem(atPath: path)
        try await eventually("the missing file in the log") { server.process.text.contains("there is no such file") }
        #expect(try limit(server) == "50")
        try write("organizations:\n  acme: {capacity: 8, refillPerSecond: 1}\n")
        try await eventually("the new limit") { try limit(server) == "8" }
        #expect(try server.metric("cistern_limits_file_rejected") == 0)
    }

    @Test(
        "an empty file is rejected by a running server, by a new server and by cistern check",
        arguments: ["", "# nothing\n", "---\n", "null\n"])
    func emptied(text: String) async throws {
        let server = try await CisternProcess(["--limits", path])
        #expect(try limit(server) == "50")
        let check = try await check(text)
        #expect(check.code == 65 && check.text.contains("the file"), "\(check.text)")
        try await eventually("the refusal") { try server.metric("cistern_limits_file_rejected") == 1 }
        #expect(try limit(server) == "50")
        let process = try CisternProcess.run(["serve", "--port", "0", "--limits", path])
        #expect(try await process.exitCode() == 64)
    }

    @Test("the file is reloaded after an edit that keeps its size and time; without a default, the settings' applies")
    func sameSizeAndTime() async throws {
        try write("default: {capacity: 60, refillPerSecond: 5}\n")
        let server = try await CisternProcess(["--limits", path, "--capacity", "70"])
        #expect(try limit(server) == "60")
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.write(contentsOf: Data("default: {capacity: 61, refillPerSecond: 5}\n".utf8))
        try handle.close()
        let time = try #require(attributes[.modificationDate] as? Date)
        try FileManager.default.setAttributes([.modificationDate: time], ofItemAtPath: path)
        try await eventually("the edit") { try limit(server) == "61" }
        try write("organizations:\n  other: {capacity: 5, refillPerSecond: 5}\n")
        try await eventually("the settings' default") { try limit(server) == "70" }
    }

    @Test("the file may omit the default, and SIGHUP then applies a new default of the settings")
    func defaults() async throws {
        let config = folder.path + "/cistern.yaml"
        try "capacity: 60\nlimits: \(path)\n".write(toFile: config, atomically: true, encoding: .utf8)
        let server = try await CisternProcess(["--config", config])
        #expect(try limit(server, of: "other") == "60")
        try "capacity: 61\n".write(toFile: config, atomically: true, encoding: .utf8)
        server.process.signal(SIGHUP)
        try await eventually("the new default") { try limit(server, of: "other") == "61" }
        #expect(try limit(server) == "61")
        #expect(!server.process.text.contains("only after a restart"))
    }

    @Test("a shadow limit admits every request, and reports the requests it would have denied")
    func shadow() async throws {
        try write("organizations:\n  acme: {capacity: 2, refillPerSecond: 0.001, shadow: true}\n")
        let server = try await CisternProcess(["--limits", path])
        for _ in 0..<5 { #expect(try server.exchange(HTTPRequestText.chat("acme")).status == 200) }
        #expect(try server.metric("cistern_shadow_denials_total") == 3)
        #expect(try server.metric(#"cistern_decisions_total{outcome="allowed"}"#) == 5)
        try await eventually("the log to say so") {
            server.process.text.contains("a limit in shadow would have denied a request")
        }
        let list = try server.admin.get("/v1/organizations?sort=shadowDenied").json["organizations"]
        #expect((list as? [[String: Any]])?.first?["organization"] as? String == "acme")
    }

    @Test("each decision is logged at level debug, with its request ID")
    func decisionsAreLogged() async throws {
        let server = try await CisternProcess(["--log-level", "debug", "--limits", path])
        let reply = try server.exchange(HTTPRequestText.chat("acme"))
        let id = try #require(reply["X-Request-ID"])
        try await eventually("the decision in the log") { server.process.text.contains(id) }
        let line = try #require(server.process.text.split(separator: "\n").first { $0.contains(id) })
        let fields = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
        #expect(fields["organization"] == "acme" && fields["outcome"] == "allowed" && fields["level"] == "debug")
    }

    // MARK: cistern check

    private func check(_ text: String) async throws -> (code: Int32, text: String) {
        try write(text)
        let process = try CisternProcess.run(["check", path])
        return (try await process.exitCode(), process.text)
    }

    @Test("cistern check summarizes a valid file, and names the line, the reason and the remedy for an invalid one")
    func checks() async throws {
        let good = try await check("organizations:\n  acme: {capacity: 50, refillPerSecond: 5, shadow: true}\n")
        #expect(good.code == 0 && good.text.contains("limits of 1 organizations; default 100 tokens"), "\(good.text)")
        let settings = try await check("port: 8080\nleaseHorizon: 300ms\n")
        #expect(settings.code == 0 && settings.text.contains("settings, 2 of"), "\(settings.text)")
        for (text, message) in [
            ("default: {capacity: 5}\n", "limits.yaml:1: default.refill is missing"),
            (
                "organizations:\n  acme: {capacity: 5, refillPerSecond: 1, shadow: maybe}\n",
                "limits.yaml:2: organizations.acme.shadow is 'maybe': use true or false"
            ),
            (
                "port: 8080\nleaseHorizon: 5s\n",
                "limits.yaml:2: leaseHorizon is '5s': use at most half of leaseDuration"
            ),
            ("prot: 8080\n", "limits.yaml:1: 'prot' is not a setting"),
            ("default: {capacity: 5, refillPerSecond: 1}\nport: 80\n", "limits.yaml:2: port is not a field here"),
            ("port: [\n", "not valid YAML"),
        ] {
            let found = try await check(text)
            #expect(found.code == 65, "\(text)")
            #expect(found.text.hasPrefix("cistern: ") && found.text.contains(message), "\(found.text)")
        }
        let missing = try CisternProcess.run(["check", folder.path + "/nowhere"])
        #expect(try await missing.exitCode() == 66)
    }
}

/// When a watched file counts as changed.
@Suite("A watched file")
struct WatchedFileTests {
    private func snapshot(_ text: String) -> WatchedFile.Snapshot { .contents(Data(text.utf8)) }

    @Test("a change is reported when two consecutive reads agree, and only once")
    func settles() {
        var file = WatchedFile()
        file.take(snapshot("a"))
        #expect(file.settle(snapshot("a")) == nil)
        #expect(file.settle(snapshot("b")) == nil)
        #expect(file.settle(snapshot("bc")) == nil)
        #expect(file.settle(snapshot("bc")) == snapshot("bc"))
        #expect(file.settle(snapshot("bc")) == nil)
    }

    @Test("an unreadable file counts as a change, and so does its becoming readable again")
    func unreadable() throws {
        var file = WatchedFile()
        file.take(snapshot("a"))
        for _ in 0..<2 { _ = file.settle(.unreadable("no permission")) }
        #expect(file.settle(snapshot("a")) == nil)
        #expect(file.settle(snapshot("a")) == snapshot("a"))
        #expect(WatchedFile.snapshot(at: "/nowhere") == .unreadable("there is no such file"))
        // Special files are not read: reading a pipe would block until a program writes to it.
        #expect(WatchedFile.snapshot(at: "/dev/null") == nil)
    }
}
