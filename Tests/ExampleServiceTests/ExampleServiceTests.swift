import CisternProcesses
import CisternTesting
import Foundation
import Testing

/// Builds packages that depend on this one by path, as a user's would, and drives what they build.
@Suite("Packages of users", .serialized, .timeLimit(.minutes(20)))
struct ExampleServiceTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

    private func swift(_ arguments: [String]) async throws -> String {
        let process = try ChildProcess("env", ["swift"] + arguments)
        let code = try await process.exitCode(within: 900)
        guard code == 0 else { throw ChildProcess.Failure(description: "swift \(arguments): \(process.text)") }
        return process.text
    }

    private static let scratch = root + "/.build/example"
    private static let package = ["--package-path", root + "/Tests/ExampleService", "--scratch-path", scratch]

    @Test("the examples of the documents compile with what is public, and those that are tests pass")
    func examples() async throws {
        let output = try await swift(["test"] + Self.package)
        #expect(output.contains(/Test run with \d\d?\d? tests? .*passed/), "\(output)")
    }

    /// Starts the example service, which is built first.
    private func service(redis url: String?) async throws -> RunningService {
        _ = try await swift(["build"] + Self.package)
        let port = try Socket.freePort()
        var environment = ["PORT": "\(port)"]
        environment["REDIS_URL"] = url
        let process = try ChildProcess("\(Self.scratch)/debug/ExampleService", [], environment: environment)
        try await eventually("the service to listen; it wrote:\n\(process.text)") {
            (try? Socket(port: port)) != nil || !process.isRunning
        }
        return RunningService(process: process, port: port)
    }

    private struct RunningService {
        let process: ChildProcess
        let port: Int
    }

    private func request(_ organization: String) -> String {
        HTTPRequestText.plain("GET", "/", ["x-org-id: \(organization)"])
    }

    /// The statuses of `count` requests on one connection.
    private func statuses(_ count: Int, of organization: String, port: Int) throws -> [Int: Int] {
        let connection = try Socket(port: port)
        var statuses: [Int: Int] = [:]
        for _ in 0..<count { statuses[try connection.exchange(request(organization)).status, default: 0] += 1 }
        return statuses
    }

    /// The status of a request; 0 if its response ends early, nil if the connection was closed before it.
    private func status(of organization: String, on connection: Socket) -> Int? {
        guard (try? connection.send(request(organization))) != nil else { return nil }
        var bytes: [UInt8] = []
        while true {
            if let reply = HTTPReply.next(in: &bytes) { return reply.status }
            guard let more = try? connection.receive(), !more.isEmpty else { return bytes.isEmpty ? nil : 0 }
            bytes += more
        }
    }

    private func end(_ service: RunningService) async throws {
        service.process.signal(SIGTERM)
        #expect(try await service.process.exitCode(within: 30) == 0, "\(service.process.text)")
    }

    @Test("the limiter takes at most 15 lines of the example service")
    func lines() throws {
        let path = Self.root + "/Tests/ExampleService/Sources/ExampleService/ExampleService.swift"
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        let words = ["Cistern", "limiter", "RateLimit", "SharedStore"]
        let count = lines.count { line in words.contains { line.contains($0) } && !line.hasPrefix("///") }
        #expect(3...15 ~= count, "\(count) lines")
    }

    @Test("without Redis, each organization gets its burst")
    func memory() async throws {
        let service = try await service(redis: nil)
        let start = ContinuousClock.now
        let counts = try statuses(130, of: "acme", port: service.port)
        // A few more pass, as ten tokens a second flow in meanwhile.
        let most = 101 + Int((ContinuousClock.now - start) / .milliseconds(100))
        #expect((100...most).contains(counts[200] ?? 0) && counts[200, default: 0] + counts[429, default: 0] == 130)
        let reply = try Socket(port: service.port).exchange(HTTPRequestText.plain("GET", "/"))
        #expect(reply.status == 400 && reply.body.contains("header x-org-id is missing"))
        try await end(service)
    }

    @Test("instances share limits through Redis")
    func sharedLimits() async throws {
        let redis = try await RedisServer()
        let services = [try await service(redis: redis.url), try await service(redis: redis.url)]
        // On a busy machine a store call may time out; its requests pass unmetered, and another organization is tried.
        var number = 0
        try await eventually("a shared burst") {
            number += 1
            let start = ContinuousClock.now
            var passed = 0
            for round in 0..<13 {
                passed += try statuses(10, of: "org-\(number)", port: services[round % 2].port)[200] ?? 0
            }
            return (100...101 + Int((ContinuousClock.now - start) / .milliseconds(100))).contains(passed)
        }
        for service in services { try await end(service) }
    }

    /// The tokens of an organization that the records in Redis show as leased.
    private func leasedTokens(_ organization: String, in redis: RedisServer) throws -> Int {
        let records = try RawRedis(port: redis.port).leaseRecords("ratelimit:\(organization):leases")
        return records.values.reduce(0) { $0 + $1.tokens }
    }

    @Test("an override in Redis is heeded; SIGTERM under load answers every request and returns every lease")
    func drains() async throws {
        let redis = try await RedisServer()
        // As an operator's server writes it: set at, expires at, shadow, capacity, refill, set by.
        try await redis.command("HSET", "ratelimit:{overrides}", "busy", "1:0:0:100000:10000/s:test")
        try await redis.command("SET", "ratelimit:{overrides}:version", "1")
        let service = try await service(redis: redis.url)
        let load = Task {
            let connection = try Socket(port: service.port)
            var statuses: [Int: Int] = [:]
            while let status = status(of: "busy", on: connection) { statuses[status, default: 0] += 1 }
            return statuses
        }
        try await eventually("tokens leased in advance") { try leasedTokens("busy", in: redis) > 10 }
        try await end(service)
        let statuses = try await load.value
        #expect(statuses.keys.elementsEqual([200]), "\(statuses)")
        #expect(try leasedTokens("busy", in: redis) == 0)
    }

    @Test("Redis is killed under load: the failure policy holds, and every request is answered")
    func redisDies() async throws {
        let redis = try await RedisServer()
        let service = try await service(redis: redis.url)
        let load = Task {
            let connection = try Socket(port: service.port, timeoutSeconds: 5)
            var statuses: [Int: Int] = [:]
            var number = 0
            while !Task.isCancelled {
                // A new organization each time needs the store each time.
                statuses[try connection.exchange(request("org-\(number)")).status, default: 0] += 1
                number += 1
            }
            return statuses
        }
        try await eventually("some leases") { (Int(try await redis.command("DBSIZE").filter(\.isNumber)) ?? 0) > 0 }
        try await redis.kill()
        // With Redis down, an organization that has used up its burst passes: the policy is open.
        var passed = 0
        try await eventually("requests without metering") {
            passed += try statuses(50, of: "acme", port: service.port)[200] ?? 0
            return passed >= 300
        }
        load.cancel()
        let underLoad = try await load.value
        #expect(underLoad.keys.allSatisfy { $0 == 200 }, "\(underLoad)")
        #expect(service.process.text.contains("Redis node is down"), "\(service.process.text)")
        try await end(service)
    }

    @Test("a user of Cistern alone resolves swift-collections and nothing else, and needs no system library")
    func alone() async throws {
        let folder = try TemporaryDirectory()
        let sources = folder.path + "/Sources/App"
        try FileManager.default.createDirectory(atPath: sources, withIntermediateDirectories: true)
        let manifest = """
            // swift-tools-version: 6.2
            import PackageDescription
            let package = Package(
                name: "app",
                platforms: [.macOS(.v26)],
                dependencies: [.package(name: "cistern", path: "\(Self.root)", traits: [])],
                targets: [.executableTarget(name: "App", dependencies: [.product(name: "Cistern", package: "cistern")])]
            )
            """
        try manifest.write(toFile: folder.path + "/Package.swift", atomically: true, encoding: .utf8)
        let program = """
            import Cistern
            let limiter = try RateLimiter(limit: .perSecond(10))
            print(try await limiter.acquire("acme").remaining)
            """
        try program.write(toFile: sources + "/main.swift", atomically: true, encoding: .utf8)
        let package = ["--package-path", folder.path]
        let dependencies = try await swift(["package"] + package + ["show-dependencies", "--format", "flatlist"])
        let names = dependencies.split(separator: "\n").filter { !$0.contains(" ") }.map(String.init)
        #expect(names.contains("swift-collections") && names.count == 2, "\(dependencies)")
        #expect(try await swift(["run"] + package + ["App"]).hasSuffix("9\n"))
    }
}
