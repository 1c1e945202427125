import Cistern
import CisternProcesses
import CisternTesting
import Logging
import NIOPosix
import Testing

@testable import CisternRedis

@Suite("The eviction policy of a node")
struct EvictionPolicyTests {
    private func log(of redis: RedisServer) async throws -> LogCounter {
        let log = LogCounter()
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)],
            environment: StoreEnvironment(clock: ClockTimeSource(ContinuousClock())),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test") { _ in LogCounter.Handler(counter: log) })
        await store.start()
        #expect(store.reports[0].isUp)
        await store.stop()
        return log
    }

    @Test("a policy other than noeviction causes one warning at connect, which names the remedy")
    func warns() async throws {
        let evicting = try await log(of: RedisServer(["--maxmemory-policy", "allkeys-lru"]))
        #expect(evicting.count("policy=allkeys-lru") == 1)
        #expect(evicting.count("noeviction") == 1)
        let keeping = try await log(of: RedisServer())
        #expect(keeping.count("evicts") == 0)
    }
}
