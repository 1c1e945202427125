internal import Cistern
internal import CisternProcesses
internal import CisternRedis
internal import Foundation

/// Measures `redis-benchmark` with the same script, number of nodes and pipelining as the cluster tier.
///
/// Its client costs almost nothing, so the result is the most that these cores can carry.
struct RedisBenchmark {
    static let rowName = "redis-benchmark, cluster's script"

    let nodes: Int
    let depth: Int
    let organizations: Int
    let seconds: Double

    /// Returns the script calls per second of all nodes together, by Redis's own count.
    func run() async throws -> Double {
        let fixture = try await BenchmarkFixture(
            stores: nodes, server: nil, limits: .init(metered: .standard, count: 0), threads: 1)
        var digest = ""
        for store in fixture.stores {
            digest = try await store.command("SCRIPT", "LOAD", Self.script)
        }
        let range = max(10, organizations / nodes)
        let drivers = try fixture.stores.map { store in
            try ChildProcess(
                "redis-benchmark",
                ["-p", "\(store.port)", "-c", "1", "-P", "\(depth)", "-n", "1000000000", "-q"]
                    + ["-r", "\(range)"] + Self.command(digest: digest, range: range))
        }
        defer { drivers.forEach { $0.signal(SIGKILL) } }
        try await Task.sleep(for: .seconds(1))
        let clock = ContinuousClock()
        guard let probe = fixture.probe else { return 0 }
        let (start, before) = (clock.now, try probe.calls(of: ["evalsha"]))
        try await Task.sleep(for: .seconds(seconds))
        let (end, after) = (clock.now, try probe.calls(of: ["evalsha"]))
        // redis-benchmark ends at the first error.
        if let driver = drivers.first(where: { !$0.isRunning }) {
            throw PerfError("redis-benchmark ended early; it wrote:\n\(driver.text.suffix(1000))", .unavailable)
        }
        return Double(after - before) / ((end - start) / .seconds(1))
    }

    /// Each call leases one token to a new lessee, because redis-benchmark cannot increment a sequence number.
    ///
    /// A lease expires immediately, so the next call finds one record and removes it with an additional HDEL.
    /// The script contains the request's numbers, because redis-benchmark cannot send binary arguments.
    static let script = RedisStore.leaseScript(
        embedding: LeaseRequest(
            key: [], limit: BenchmarkFixture.unlimited, lesseeID: "", sequence: 1, acknowledged: 0, held: 0,
            millisecondsSinceLastSpend: 0, halfSpentTokens: 0, halfSpentMilliseconds: 0, returned: 0,
            waiting: [WaitingRun(cost: 1, count: 1)], requested: .none, durationMilliseconds: 0,
            sentAt: Instant(milliseconds: 0), deadline: Instant(milliseconds: 0)))

    /// Returns the words of a call of the script.
    ///
    /// - Parameter range: the number of different values that redis-benchmark draws for each placeholder.
    static func command(digest: String, range: Int) -> [String] {
        let organization = "ratelimit:\(String(decoding: Workload.name(0), as: UTF8.self).dropLast(12))__rand_int__"
        let keys = ["tokens", "lastRefill", "leases"].map { "\(organization):\($0)" }
        // Enough random digits that consecutive calls almost never have the same lessee.
        let placeholders = Int((12 / log10(Double(range))).rounded(.up))
        let lesseeID = "perf-" + String(repeating: "__rand_int__", count: placeholders)
        return ["EVALSHA", digest, "3"] + keys + [lesseeID]
    }
}
