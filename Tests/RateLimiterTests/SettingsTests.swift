import Cistern
import CisternTestSupport
import Configuration
import Testing

@Suite("Limits and settings of a limiter")
struct SettingsTests {
    @Test("rates a second, a minute and an hour")
    func rates() throws {
        #expect(try Limit.perSecond(10, capacity: 100) == .standard)
        #expect(try Limit.perMinute(600, capacity: 100) == .standard)
        #expect(try Limit.perHour(36_000, capacity: 100) == .standard)
        #expect(try Limit.perSecond(7).capacity == 7)
        #expect(try Limit.perHour(18).refillPerSecond == 0.005)
        #expect(try Limit.perDay(1).refill == .perDay(1))
        #expect(try Limit.perSecond(1, isShadow: true).isShadow)
    }

    @Test("an invalid limit is an error that names field, value and remedy")
    func invalidLimits() {
        func error(_ limit: () throws -> Limit) -> String {
            do {
                return "\(try limit())"
            } catch {
                return "\(error)"
            }
        }
        #expect(error { try .perSecond(0) }.hasPrefix("refill is 0/s: "))
        #expect(error { try .perSecond(-1, capacity: 1) }.hasPrefix("refill is -1/s: "))
        #expect(error { try .perSecond(.max, capacity: 1) }.hasPrefix("refill is 9223372036854775807/s: "))
        #expect(error { try .perSecond(1, capacity: .max) }.hasPrefix("capacity is 9223372036854775807: "))
        #expect(error { try Limit(capacity: 1, refillPerSecond: .nan) }.hasPrefix("refillPerSecond is nan: "))
    }

    @Test("contradicting and impossible settings are rejected before anything runs")
    func invalidSettings() {
        func error(_ change: (inout LimiterSettings) -> Void) -> String {
            var settings = LimiterSettings()
            change(&settings)
            do {
                _ = try RateLimiter(limit: .standard, settings: settings, clock: ManualClock())
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(error { _ in } == "none")
        #expect(
            error { $0.lease.horizon = .seconds(3) }
                == "leaseHorizon is 3000ms: use at most half of leaseDuration, which is 2000ms")
        #expect(
            error { $0.lease.timeout = .seconds(2) }
                == "storeTimeout is 2000ms: use at most half of leaseDuration, which is 2000ms")
        #expect(
            error { $0.lease.duration = .milliseconds(1) }
                == "leaseDuration is 1ms: use a value from 100ms to 60000ms")
        #expect(error { $0.lease.duration = .seconds(Int64.max) }.hasPrefix("leaseDuration is 9223372036854775807ms: "))
        #expect(error { $0.lease.idle = .seconds(-1) }.hasPrefix("leaseIdle is -1000ms: "))
        #expect(error { $0.lease.clockDriftPerMille = 201 } == "clockDrift is 201: use a value from 0 to 200")
        #expect(
            error { $0.maximumBuckets = 0 } == "maxBuckets is 0: use a whole number from 1 to 1000000000")
        #expect(error { $0.maximumWaitersPerKey = .max }.hasPrefix("maxWaiters is 9223372036854775807: "))
        #expect(error { $0.maximumNewKeysPerSecond = -1 }.hasPrefix("maxNewKeysPerSecond is -1: "))
    }

    @Test(
        "a namespace has 1 to 64 plain characters",
        arguments: ["", "a b", "a:b", "{x}", "é", String(repeating: "x", count: 65)])
    func invalidNamespaces(namespace: String) throws {
        #expect(throws: InvalidSetting.self) {
            try RateLimiter(limit: .standard, namespace: namespace, clock: ManualClock())
        }
        _ = try RateLimiter(limit: .standard, namespace: "team-1.uploads_v2", clock: ManualClock())
    }

    @Test("other lease settings are validated before they apply")
    func changeLeases() throws {
        let store = InMemoryStore()
        let limiter = try RateLimiter(limit: .standard, store: .inMemory(store), clock: store.clock)
        var lease = LeaseSettings()
        lease.prefetch = .milliseconds(200)
        #expect(throws: InvalidSetting.self) { try limiter.changeLeaseSettings(to: lease) }
        #expect(limiter.engine.leaseSettings == LeaseSettings())
        lease.prefetch = .milliseconds(100)
        try limiter.changeLeaseSettings(to: lease)
        #expect(limiter.engine.leaseSettings?.prefetch == .milliseconds(100))
    }

    // MARK: Configuration

    private func reader(_ values: [AbsoluteConfigKey: ConfigValue]) -> ConfigReader {
        ConfigReader(provider: InMemoryProvider(values: values))
    }

    @Test("a limiter reads limit and settings from a configuration, as texts or numbers")
    func configuration() throws {
        let reader = reader([
            "rateLimit.capacity": 50, "rateLimit.refillPerSecond": 2.5, "rateLimit.onStoreFailure": "closed",
            "rateLimit.leaseDuration": "4s", "rateLimit.leaseHorizon": "500ms", "rateLimit.clockDrift": "30",
            "rateLimit.maxBuckets": 1000,
        ]).scoped(to: "rateLimit")
        #expect(try Limit(config: reader) == Limit(capacity: 50, refillPerSecond: 2.5))
        let settings = try LimiterSettings(config: reader)
        var expected = LimiterSettings()
        expected.failurePolicy = .closed
        expected.maximumBuckets = 1000
        expected.lease.duration = .seconds(4)
        expected.lease.horizon = .milliseconds(500)
        expected.lease.clockDriftPerMille = 30
        #expect(settings == expected)
        let empty = self.reader([:])
        #expect(try Limit(config: empty) == .standard)
        #expect(try LimiterSettings(config: empty) == LimiterSettings())
    }

    @Test(
        "a wrong value in a configuration is an error that names it, and never the default",
        arguments: [
            ("leaseDuration", "2 s", "use a time such as 250ms, 2s, 1m or 1h"),
            ("leaseDuration", "90s", "use a value from 100ms to 60000ms"),
            ("leaseHorizon", "1500ms", "use at most half of leaseDuration, which is 2000ms"),
            ("clockDrift", "a lot", "use a whole number"),
            ("onStoreFailure", "ask", "use one of open, closed, local"),
            ("maxWaiters", "0", "use a whole number from 1 to 1000000"),
        ])
    func wrongConfiguration(name: String, text: String, remedy: String) {
        let reader = reader([AbsoluteConfigKey([name]): ConfigValue(.string(text), isSecret: false)])
        let error = #expect(throws: InvalidSetting.self) { try LimiterSettings(config: reader) }
        #expect(error?.name == name && error?.remedy == remedy, "\(error.map { "\($0)" } ?? "")")
    }

    @Test("a value of another type in a configuration is an error, too")
    func wrongType() {
        let flag: [AbsoluteConfigKey: ConfigValue] = ["leaseDuration": true]
        #expect(throws: InvalidSetting.self) { try LimiterSettings(config: reader(flag)) }
        let list: [AbsoluteConfigKey: ConfigValue] = ["capacity": .init(.intArray([1]), isSecret: false)]
        #expect(throws: InvalidSetting.self) { try Limit(config: reader(list)) }
        #expect(throws: InvalidSetting.self) { try Limit(config: reader(["capacity": "ten"])) }
        #expect(throws: InvalidSetting.self) { try Limit(config: reader(["capacity": -1])) }
    }
}
