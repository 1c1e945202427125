import CisternTesting
import Testing

@testable import Cistern

@Suite("Latencies")
struct LatencyHistogramTests {
    @Test("quantiles are interpolated as in Prometheus, and zeros count as no wait")
    func quantiles() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == nil)
        for _ in 0..<100 { histogram.record(nanoseconds: 700_000) }
        #expect(histogram.quantile(0.5) == 0.75)
        #expect(histogram.quantile(0.5, zeros: 900) == 0)
        #expect(histogram.quantile(0.95, zeros: 900) == 0.75)
        #expect(histogram.quantile(0.99, zeros: 900).map { abs($0 - 0.95) < 1e-9 } == true)
        histogram.record(nanoseconds: 60_000_000_000)
        #expect(histogram.quantile(1) == 10_000)
    }

    @Test("the difference to an earlier snapshot contains only the samples since then")
    func since() {
        var histogram = LatencyHistogram()
        histogram.record(nanoseconds: 50_000)
        let earlier = histogram
        histogram.record(nanoseconds: 2_000_000)
        let later = histogram.since(earlier)
        #expect(later.count == 1 && later.sumNanoseconds == 2_000_000)
    }
}
