internal import Cistern
internal import CisternRedis
internal import CisternTesting
internal import Foundation

/// What `redis-benchmark` drives through the same script at as many nodes, with the same pipelining: the most that these
/// cores carry, with next to no client.
struct RedisBenchmark {
    let nodes: Int
    let depth: Int
    let organizations: Int
    let seconds: Double

    /// Script calls a second, of all nodes together, by Redis's own count.
    func run() async throws -> Double {
        let rig = try await Rig(stores: nodes, server: nil, limits: .init(metered: .standard, count: 0), threads: 1)
        var digest = ""
        for store in rig.stores {
            digest = try await store.command("SCRIPT", "LOAD", RedisStore.leaseScript)
        }
        let drivers = try rig.stores.map { store in
            try ChildProcess(
                "redis-benchmark",
                ["-p", "\(store.port)", "-c", "1", "-P", "\(depth)", "-n", "1000000000", "-q"]
                    + ["-r", "\(max(1000, organizations / nodes))"] + Self.command(digest: digest))
        }
        defer { drivers.forEach { $0.signal(SIGKILL) } }
        try await Task.sleep(for: .seconds(1))
        let clock = ContinuousClock()
        guard let probe = rig.probe else { return 0 }
        let (start, before) = (clock.now, try probe.calls(of: ["evalsha"]))
        try await Task.sleep(for: .seconds(seconds))
        let (end, after) = (clock.now, try probe.calls(of: ["evalsha"]))
        if let driver = drivers.first(where: { !$0.isRunning }) {
            throw PerfError("redis-benchmark ended early; it wrote:\n\(driver.text.suffix(1000))", .unavailable)
        }
        return Double(after - before) / ((end - start) / .seconds(1))
    }

    /// One token of one organisation, as a server asks for it that holds none.
    ///
    /// redis-benchmark cannot count, and the script acts on a number once: so each call is another lessee's, whose lease
    /// ends at once. The script does as much work for it as for a lessee that comes back.
    static func command(digest: String) -> [String] {
        let organization = "ratelimit:\(String(decoding: Workload.name(0), as: UTF8.self).dropLast(12))__rand_int__"
        let keys = ["tokens", "lastRefill", "leases"].map { "\(organization):\($0)" }
        let limit = Rig.boundless
        let amounts = [limit.capacityMicrotokens, limit.refillMicrotokensPerMillisecond].map { "\($0)" }
        let lessee = "perf-__rand_int____rand_int____rand_int____rand_int__"
        return ["EVALSHA", digest, "3"] + keys + amounts
            + [lessee, "1", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0", "1", "1", "1"]
    }
}
