internal import ArgumentParser
internal import Cistern
internal import Foundation

/// `perf http`: load on one server.
struct HTTPCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "http",
        abstract: "Put load on a server over HTTP, as fast as it answers or at a fixed rate.",
        discussion: """
            Without --url, starts a server and stops it at the end. Without --rate, runs a closed loop: each \
            connection sends a request as soon as the last one is answered, and percentiles are corrected for \
            coordinated omission. With --rate, runs an open loop: requests are sent at that rate regardless of the \
            server, and latency counts from the scheduled time of each request.
            """)

    @Option(help: ArgumentHelp("A running server, such as http://127.0.0.1:8080/chat.", valueName: "url"))
    var url: String?
    @Option(help: ArgumentHelp("Requests per second in all, 1 to 1000000; without it, a closed loop."))
    var rate: String?
    @Option(
        help: ArgumentHelp("Requests in flight per connection, 1 to 1000. (default: 1)", valueName: "count"))
    var depth: String?
    @Option(
        help: ArgumentHelp(
            "Additional connections that stay open and send nothing, 0 to 100000. (default: 0)", valueName: "count"))
    var idle: String?
    @Option(
        help: ArgumentHelp(
            "Redis nodes that the started server leases from, 0 to 16; 0 for its own memory. (default: 0)",
            valueName: "count"))
    var nodes: String?
    @Option(help: ArgumentHelp("Port of the started server, 0 to 65535. (default: 0, any free one)")) var port: String?
    @Option(help: ArgumentHelp("Threads of the started server, 1 to 64. (default: half of the cores)"))
    var threads: String?
    @OptionGroup var load: LoadOptions
    @OptionGroup var options: RunOptions

    static let columns: [Metric] = [
        .decisionsPerSecond, .p50Microseconds, .p99Microseconds, .p999Microseconds, .maxMicroseconds,
        .processorMicroseconds, .storeProcessorMicroseconds, .storeCallsPerThousand, .deniedPercent, .failed,
        .unmetered, .overAdmittedTokens,
    ]

    func run() async throws {
        let checked = try options.checked("http", standard: .init(seconds: 5, repetitions: 3))
        let organizations = try load.keyCount(standard: 100)
        var settings = HTTPRun.Settings(
            workload: Workload(
                organizations: organizations, skew: try load.chosenSkew(),
                turns: Workload.turns(for: organizations)))
        settings.target = try url.map { url throws(PerfError) in try HTTPTarget(url: url) }
        settings.rate = try rate.map { try RunOptions.number("rate", $0, in: 1...1_000_000) }
        settings.depth = try RunOptions.integer("depth", depth ?? "1", in: 1...1000)
        settings.nodes = try RunOptions.integer("nodes", nodes ?? "0", in: 0...16)
        settings.port = try RunOptions.integer("port", port ?? "0", in: 0...65535)
        let cores = ProcessInfo.processInfo.activeProcessorCount
        settings.threads = try RunOptions.integer("threads", threads ?? "\(max(1, cores / 2))", in: 1...64)
        settings.connections = try load.connectionCount()
        settings.idleConnections = try RunOptions.integer("idle", idle ?? "0", in: 0...100_000)
        settings.limit = try load.limit(standard: nil)
        settings.seconds = checked.seconds
        settings.warmUpSeconds = options.smoke ? 0 : 1
        guard settings.limit == nil || checked.seconds <= 300 else {
            throw PerfError(
                "--duration is '\(options.duration ?? "")': use at most 5m with a limit, because every request is kept "
                    + "to compute the over-admission", .usage)
        }
        if settings.target != nil {
            for (flag, value) in [("nodes", nodes), ("port", port), ("threads", threads)] where value != nil {
                throw PerfError(
                    "--\(flag) and --url do not go together: the server at --url already runs; leave one out", .usage)
            }
        }
        try FileLimit.ensure(settings.connections + settings.idleConnections + 200)
        let result = try await measure(HTTPRun(settings), repetitions: checked.repetitions)
        try options.deliver(result, columns: Self.columns, comparedWith: checked.old)
        if options.smoke, let failed = result.rows.first?[.failed], failed > 0 {
            throw PerfError("\(Int(failed)) requests failed; expected 0", .wrongCount)
        }
    }

    private func measure(_ run: HTTPRun, repetitions: Int) async throws -> PerfResult {
        let settings = run.settings
        var described = [
            "connections": "\(settings.connections)", "idle": "\(settings.idleConnections)",
            "depth": "\(settings.depth)",
            "rate": settings.rate.map { "\(Int($0))/s" } ?? "closed loop",
            "organizations": "\(settings.workload.names.count)", "skew": load.skew ?? "0",
            "seconds": "\(settings.seconds)", "repetitions": "\(repetitions)",
            "server": settings.target.map { "\($0)" } ?? "started, \(settings.nodes) Redis nodes",
        ]
        if settings.target == nil { described["threads"] = "\(settings.threads)" }
        if let limit = settings.limit {
            described["limit"] = "\(limit.capacity) tokens, \(limit.refill)"
        }
        var result = PerfResult(kind: "http", settings: described, machine: await Machine.current())
        let name = settings.rate.map { "open loop, \(TextReport.grouped(Int($0)))/s" } ?? "closed loop"
        result.rows = [.init(name: name, samples: [])]
        let progress = Progress(steps: repetitions)
        for repetition in 1...repetitions {
            progress.begin("\(name) (\(repetition) of \(repetitions))")
            result.rows[0].samples.append(try await run.run())
        }
        progress.end()
        return result
    }
}

extension HTTPTarget {
    /// Reads `http://host[:port][/path]`.
    init(url: String) throws(PerfError) {
        let remedy = "use http://HOST:PORT/PATH, such as http://127.0.0.1:8080/chat"
        guard let parts = URLComponents(string: url), parts.scheme == "http", let host = parts.host, !host.isEmpty,
            parts.user == nil, parts.query == nil, 1...65535 ~= parts.port ?? 80
        else { throw PerfError("--url is '\(url)': \(remedy)", .usage) }
        let path = parts.percentEncodedPath
        self.init(
            host: host.trimmingCharacters(in: ["[", "]"]), port: parts.port ?? 80, path: path.isEmpty ? "/chat" : path)
    }
}
