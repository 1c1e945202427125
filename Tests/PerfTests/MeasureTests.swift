import Cistern
import Histogram
import Testing

@testable import Perf

@Suite("Measurements")
struct MeasureTests {
    @Test("the correction for coordinated omission adds the requests that a slow request delayed")
    func correction() {
        var latency = LatencyRecord.make()
        // A hundred requests of 1 ms each, then one of 1 s, during which no other request was sent.
        for _ in 0..<100 { latency.record(1_000_000) }
        latency.record(1_000_000_000)
        #expect(latency.microseconds(99) < 1100)
        let corrected = latency.corrected(expectedIntervalNanoseconds: 1_000_000)
        #expect(corrected.totalCount == 100 + 1000)
        #expect(abs(corrected.microseconds(99) - 989_000) < 2000)
        #expect(abs(corrected.microseconds(50) - 450_000) < 2000)
        #expect(corrected.microseconds(100) >= 999_000)
    }

    @Test("the correction applies to a stall of all decisions, not to a wait for the store beside other decisions")
    func correctionOfBoth() {
        var tally = LoadTally()
        for _ in 0..<10_000 {
            tally.count(.allowed)
            tally.immediate.record(200)
        }
        tally.count(.allowed)
        tally.waits.record(2_000_000)
        let measurement = Measurement(tally: tally, seconds: 0.002)
        var values = measurement.sample(limit: nil, correctedFor: 256).values
        #expect((values[.p999Microseconds] ?? 0) < 0.3)
        #expect((values[.maxMicroseconds] ?? 0) > 1999)
        tally.immediate.record(2_000_000)
        values = Measurement(tally: tally, seconds: 0.004).sample(limit: nil, correctedFor: 256).values
        // The stall of 2 ms delayed some 5000 decisions of 400 ns on average.
        #expect((values[.p50Microseconds] ?? 0) < 0.3)
        #expect((values[.p99Microseconds] ?? 0) > 1900)
    }

    @Test("percentiles are listed in ascending order, and the list is empty without measurements")
    func percentiles() {
        #expect(LatencyRecord.make().percentileList.isEmpty)
        var latency = LatencyRecord.make()
        for value in 1...10_000 { latency.record(UInt64(value) * 1000) }
        let list = latency.percentileList
        #expect(list.map(\.percent) == LatencyRecord.listed)
        #expect(list.map(\.microseconds) == list.map(\.microseconds).sorted())
        #expect(abs((list.first { $0.percent == 99 }?.microseconds ?? 0) - 9900) < 20)
    }

    @Test("processor time is read correctly after a process name with any characters")
    func processorTime() throws {
        let line = "4711 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 100"
        let ticks = try #require(ProcessorTime.ticks(in: line))
        #expect(ticks == (250, 50))
        #expect(ProcessorTime.ticks(in: "4711 (a) S 1 2") == nil)
        #expect(ProcessorTime.microseconds(of: [-1]) == nil)
    }

    @Test("Redis's command counts are read, including those of subcommands")
    func commandCounts() {
        let text = """
            # Commandstats\r
            cmdstat_evalsha:calls=12,usec=3,usec_per_call=0.25,rejected_calls=0,failed_calls=0\r
            cmdstat_script|load:calls=1,usec=215,usec_per_call=215.00,rejected_calls=0,failed_calls=0\r

            """
        #expect(StoreProbe.counts(in: text) == ["evalsha": 12, "script|load": 1])
    }

    @Test("stranded tokens are the tokens that a server holds beyond its spending in one horizon")
    func holdings() {
        var holdings = Holdings(horizonSeconds: 0.5)
        holdings.note(outstanding: [10, 10], spent: [0, 0], now: Instant(milliseconds: 0))
        // The first server spends 10 tokens a second and needs 5; the second server spends none.
        holdings.note(outstanding: [20, 30], spent: [10, 0], now: Instant(milliseconds: 1000))
        #expect(holdings.meanOutstanding == 35)
        #expect(holdings.meanStranded == 45)
    }

    @Test("every request of a load is counted, including failed requests")
    func sample() {
        var tally = LoadTally()
        for outcome in [Decision.Outcome.allowed, .allowed, .denied, .unmetered] {
            tally.count(outcome)
            tally.waits.record(2000)
        }
        tally.failed = 1
        let measurement = Measurement(
            tally: tally, seconds: 0.5, processorMicroseconds: 50, storeProcessorMicroseconds: nil, storeCalls: 2)
        let values = measurement.sample(limit: nil).values
        #expect(values[.decisionsPerSecond] == 10)
        #expect(values[.deniedPercent] == 20)
        #expect(values[.failed] == 1)
        #expect(values[.unmetered] == 1)
        #expect(values[.processorMicroseconds] == 10)
        #expect(values[.storeProcessorMicroseconds] == nil)
        #expect(values[.storeCallsPerThousand] == 400)
        #expect(values[.overAdmittedTokens] == nil)
    }
}
