#if Observability
    internal import Metrics
    internal import Synchronization
    internal import Tracing

    /// Reports a limiter's figures to swift-metrics, and its waits to swift-distributed-tracing.
    ///
    /// Instruments are made once, when the limiter is created; the process bootstraps its metrics system and its tracer
    /// before. Labels name the limiter, an outcome or a node, and never a key.
    final class LimiterObserver: Sendable {
        private struct Reported {
            var statistics = LimiterStatistics()
            var nodes: [String: Gauge] = [:]
        }

        private let namespace: String
        private let tracer: (any Tracer)?
        private let decisions: [(outcome: Decision.Outcome, counter: Counter)]
        private let shadowDenied: Counter
        private let storeCalls: Counter
        private let storeFailures: Counter
        private let stranded: Counter
        private let outstanding: Gauge
        private let keys: Gauge
        private let waits: Timer
        private let reported = Mutex(Reported())

        init(namespace: String) {
            self.namespace = namespace
            let tracer = InstrumentationSystem.tracer
            self.tracer = tracer is NoOpTracer ? nil : tracer
            let limiter = [("limiter", namespace)]
            decisions = Decision.Outcome.allCases.map { outcome in
                (outcome, Counter(label: "cistern_decisions", dimensions: limiter + [("outcome", "\(outcome)")]))
            }
            shadowDenied = Counter(label: "cistern_shadow_denied", dimensions: limiter)
            storeCalls = Counter(label: "cistern_store_calls", dimensions: limiter)
            storeFailures = Counter(label: "cistern_store_failures", dimensions: limiter)
            stranded = Counter(label: "cistern_stranded_tokens", dimensions: limiter)
            outstanding = Gauge(label: "cistern_outstanding_tokens", dimensions: limiter)
            keys = Gauge(label: "cistern_keys", dimensions: limiter)
            waits = Timer(label: "cistern_wait", dimensions: limiter)
        }

        /// Reports what has happened since the last call.
        func report(_ now: LimiterStatistics, nodes: [StoreNode]) {
            reported.withLock { reported in
                let before = reported.statistics
                reported.statistics = now
                for (outcome, counter) in decisions {
                    counter.increment(by: now.decisions[outcome] &- before.decisions[outcome])
                }
                shadowDenied.increment(by: now.decisions.shadowDenied &- before.decisions.shadowDenied)
                storeCalls.increment(by: now.storeCalls &- before.storeCalls)
                storeFailures.increment(by: now.storeFailures &- before.storeFailures)
                stranded.increment(by: now.leaseTokens.expired &- before.leaseTokens.expired)
                outstanding.record(now.leaseTokens.outstanding)
                keys.record(now.cachedBuckets)
                for node in nodes { gauge(of: node, in: &reported).record(node.isReachable ? 1 : 0) }
            }
        }

        private func gauge(of node: StoreNode, in reported: inout Reported) -> Gauge {
            if let gauge = reported.nodes[node.name] { return gauge }
            let gauge = Gauge(label: "cistern_node_up", dimensions: [("limiter", namespace), ("node", node.name)])
            reported.nodes[node.name] = gauge
            return gauge
        }

        /// Measures the wait until a completion is called.
        func observing(
            _ completion: @escaping @Sendable (PendingDecision.Outcome) -> Void
        ) -> @Sendable (PendingDecision.Outcome) -> Void {
            let start = ContinuousClock.now
            return { [waits] outcome in
                waits.record(duration: start.duration(to: .now))
                completion(outcome)
            }
        }

        /// Measures one wait for the store, with a span named `cistern.wait` around it.
        func observeWait(
            isolation: isolated (any Actor)? = #isolation, _ body: () async -> PendingDecision.Outcome
        ) async -> PendingDecision.Outcome {
            let start = ContinuousClock.now
            defer { waits.record(duration: start.duration(to: .now)) }
            guard let tracer else { return await body() }
            return await tracer.withAnySpan("cistern.wait", ofKind: .internal) { span in
                span.attributes["cistern.limiter"] = namespace
                let outcome = await body()
                switch outcome {
                case .success(let decision): span.attributes["cistern.outcome"] = "\(decision.outcome)"
                case .failure(let error):
                    span.recordError(error)
                    span.setStatus(SpanStatus(code: .error))
                }
                return outcome
            }
        }
    }

    extension Counter {
        fileprivate func increment(by amount: UInt64) {
            if amount > 0 { increment(by: Int64(clamping: amount)) }
        }
    }
#endif
