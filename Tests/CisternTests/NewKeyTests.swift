import Cistern
import CisternTestSupport
import CisternTesting
import Testing

@Suite("The limit on new keys per second")
struct NewKeyTests {
    private let clock = ManualClock(milliseconds: 10_000)
    private let store = ScriptedStore()
    private let log = DecisionLog()

    private func ask(_ limiter: RateLimiterEngine, _ key: String) {
        let log = log
        let decision = limiter.decide(key.utf8.span, now: clock.now()) { log.add($0) }
        if let decision { log.add(decision) }
    }

    @Test("new keys beyond the limit are denied without a store call, until the next one is admitted")
    func newKeys() {
        var settings = LimiterSettings()
        settings.maximumNewKeysPerSecond = 2
        let limiter = RateLimiterEngine(
            limits: Limits(), store: store, lesseeID: "server-1", settings: settings, seed: 1)
        for name in ["a", "b"] { ask(limiter, name) }
        #expect(store.requestCount == 2)
        ask(limiter, "c")
        #expect(store.requestCount == 2)
        #expect(log.outcomes == [.denied])
        #expect(log.all.last?.retryAfterMilliseconds == 500)
        #expect(limiter.statistics.decisions.newKeysDenied == 1)
        clock.advance(milliseconds: 500)
        ask(limiter, "c")
        #expect(store.requestCount == 3)
    }
}
