import Cistern
import CisternProcesses
import CisternTestSupport
import InMemoryTracing
import Instrumentation
import Metrics
import MetricsTestKit
import Testing
import Tracing

@Suite("Metrics and spans of a limiter", .timeLimit(.minutes(2)))
struct ObservabilityTests {
    /// The process's metrics and spans: both systems can be bootstrapped once.
    private static let (metrics, tracer) = {
        let (metrics, tracer) = (TestMetrics(), InMemoryTracer())
        MetricsSystem.bootstrap(metrics)
        InstrumentationSystem.bootstrap(tracer)
        return (metrics, tracer)
    }()

    private let store = InMemoryStore()

    private func total(_ label: String, _ limiter: String, _ dimensions: [(String, String)] = []) throws -> Int64 {
        try Self.metrics.expectCounter(label, [("limiter", limiter)] + dimensions).totalValue
    }

    @Test("counters and gauges follow the statistics; no label has a key")
    func metrics() async throws {
        _ = Self.metrics
        let limiter = try RateLimiter(
            limit: .perSecond(1, capacity: 3), store: .inMemory(store), namespace: "metrics", clock: store.clock)
        try await limiter.withRunning {
            for _ in 0..<5 { _ = try await limiter.acquire("secret-key") }
            store.isReachable = false
            _ = try await limiter.acquire("other-key")
            // The gauge is the last figure of a report.
            try await eventually("a report") {
                try total("cistern_decisions", "metrics", [("outcome", "unmetered")]) == 1
                    && Self.metrics.expectGauge("cistern_node_up", [("limiter", "metrics"), ("node", "memory")])
                        .lastValue == 0
            }
        }
        #expect(try total("cistern_decisions", "metrics", [("outcome", "allowed")]) == 3)
        #expect(try total("cistern_decisions", "metrics", [("outcome", "denied")]) == 2)
        #expect(try total("cistern_decisions", "metrics", [("outcome", "refused")]) == 0)
        let statistics = limiter.statistics
        #expect(try total("cistern_store_calls", "metrics") == Int64(statistics.storeCalls))
        #expect(try total("cistern_store_failures", "metrics") == Int64(statistics.storeFailures))
        #expect(try total("cistern_stranded_tokens", "metrics") == Int64(statistics.leaseTokens.expired))
        let waits = try Self.metrics.expectTimer("cistern_wait", [("limiter", "metrics")])
        #expect(waits.values.count == Int(statistics.decisions.waited))
        let counters = Self.metrics.counters.filter { counter in
            counter.dimensions.contains { $0.0 == "limiter" && $0.1 == "metrics" }
        }
        #expect(counters.count == 8)
        #expect(counters.allSatisfy { !"\($0.dimensions)".contains("key") })
    }

    @Test("a limiter in memory reports, too, while it runs")
    func memory() async throws {
        _ = Self.metrics
        let limiter = try RateLimiter(limit: .perSecond(1, capacity: 3), namespace: "memory", clock: ManualClock())
        try await limiter.withRunning { _ = try await limiter.acquire("acme") }
        #expect(try total("cistern_decisions", "memory", [("outcome", "allowed")]) == 1)
        let keys = try Self.metrics.expectGauge("cistern_keys", [("limiter", "memory")])
        #expect(keys.lastValue == 1)
    }

    @Test("a wait has a span below that of the request; a decision from memory has none")
    func spans() async throws {
        let tracer = Self.tracer
        let limiter = try RateLimiter(
            limit: .perSecond(1, capacity: 3), store: .inMemory(store), namespace: "spans", clock: store.clock)
        let parent = try await limiter.withRunning {
            try await tracer.withSpan("request") { span in
                _ = try await limiter.acquire("acme", cost: 3)
                // Denied from memory.
                _ = try await limiter.acquire("acme", cost: 3)
                return span.context
            }
        }
        let waits = tracer.finishedSpans.filter { span in
            span.operationName == "cistern.wait" && span.attributes.get("cistern.limiter") == .string("spans")
        }
        #expect(waits.count == 1)
        #expect(waits.first?.parentSpanID == parent.inMemorySpanContext?.spanID)
        #expect(waits.first?.attributes.get("cistern.outcome") == .string("allowed"))
    }
}
