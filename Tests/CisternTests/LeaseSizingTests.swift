import Testing

@testable import Cistern

@Suite("Lease sizing")
struct LeaseSizingTests {
    private let start = Instant(milliseconds: 10_000)

    @Test("the request covers the demand over the horizon, less held tokens, at no more than the refill rate")
    func demand() throws {
        let fast = try Limit(capacity: 1000, refillPerSecond: 1000)
        let requested = { (limit: Limit, demand: Double, held: Int) in
            DemandSizing().requested(
                for: SizingInput(limit: limit, demandPerSecond: demand, held: held), settings: LeaseSettings())
        }
        #expect(
            requested(fast, 400, 30)
                == RequestedLease(prefetchTokens: 70, weight: 400_000, trickleMilliseconds: 250, soloMultiplier: 2))
        #expect(requested(try Limit(capacity: 1000, refillPerSecond: 100), 400, 0).prefetchTokens == 25)
        #expect(requested(try Limit(capacity: 10, refillPerSecond: 1000), 400, 0).prefetchTokens == 10)
        // Below the minimum nothing is prefetched, but the demand still counts as a weight in the sharing.
        #expect(requested(.standard, 400, 0) == RequestedLease(prefetchTokens: 0, weight: 400_000))
        #expect(requested(fast, 19, 0).prefetchTokens == 0)
    }

    @Test("a slow key prefetches only if the tokens are negligible for its bucket, and no more than it needs")
    func negligibleLeases() throws {
        var settings = LeaseSettings()
        let requested = { (limit: Limit, demand: Double, held: Int) in
            DemandSizing().requested(
                for: SizingInput(limit: limit, demandPerSecond: demand, held: held), settings: settings)
        }
        let vast = try Limit(capacity: 1_000_000_000, refillPerSecond: 100_000_000)
        #expect(requested(vast, 2.5, 0) == RequestedLease(prefetchTokens: 5, weight: 2500))
        #expect(requested(vast, 2.5, 4).prefetchTokens == 1)
        #expect(requested(vast, 2.5, 9).prefetchTokens == 0)
        // A millionth of the smaller of the capacity and the refill over 2 s: here 2,000,000 tokens.
        #expect(requested(try Limit(capacity: 2_000_000, refillPerSecond: 100_000_000), 19, 0).prefetchTokens == 2)
        #expect(requested(try Limit(capacity: 100_000_000, refillPerSecond: 1_000_000), 19, 0).prefetchTokens == 2)
        #expect(requested(try Limit(capacity: 999_999, refillPerSecond: 1_000_000), 19, 0).prefetchTokens == 0)
        #expect(requested(try Limit(capacity: 100_000, refillPerSecond: 100_000), 19, 0).prefetchTokens == 0)
        settings.durationMilliseconds = 20_000
        #expect(requested(vast, 2.5, 0).prefetchTokens == 50)
    }

    @Test("a trickle grant lasts at most half a lease")
    func soloMultiplier() {
        var settings = LeaseSettings()
        settings.soloMultiplier = 8
        settings.durationMilliseconds = 1500
        let use = SizingInput(limit: .standard, demandPerSecond: 10, held: 0)
        settings.minimumDemandTokens = 1
        #expect(
            DemandSizing().requested(for: use, settings: settings).limitingTrickle(by: settings).soloMultiplier == 3)
        // The same bound holds for a custom sizing.
        let long = RequestedLease(prefetchTokens: 1, weight: 1, trickleMilliseconds: 60_000, soloMultiplier: 9)
            .limitingTrickle(
                by: settings)
        #expect(long.trickleMilliseconds == settings.longestTrickleMilliseconds && long.soloMultiplier == 1)
    }

    @Test("the demand average follows a steady rate fully, and a single burst only slightly")
    func averages() {
        let settings = LeaseSettings()
        var steady = Demand(now: start)
        for step in 1...20 {
            steady.record(tokens: 40, settings: settings, now: start.advanced(byMilliseconds: Int64(step) * 100))
        }
        #expect((390...400).contains(steady.tokensPerSecond))
        var burst = Demand(now: start)
        burst.record(tokens: 10, settings: settings, now: start)
        #expect((40...60).contains(burst.tokensPerSecond))
        // A fall takes effect more slowly than a rise, and ten idle seconds leave almost nothing.
        steady.record(tokens: 0, settings: settings, now: start.advanced(byMilliseconds: 2100))
        #expect((270...300).contains(steady.tokensPerSecond))
        steady.record(tokens: 0, settings: settings, now: start.advanced(byMilliseconds: 12_100))
        #expect(steady.tokensPerSecond < 10)
    }

    @Test("FixedSizing requests a constant, and PerRequestSizing requests nothing")
    func others() {
        let use = SizingInput(limit: .standard, demandPerSecond: 1e6, held: 3)
        #expect(FixedSizing(tokens: 50).requested(for: use, settings: LeaseSettings()).prefetchTokens == 50)
        #expect(PerRequestSizing().requested(for: use, settings: LeaseSettings()) == RequestedLease.none)
    }

    @Test("settings outside their ranges are rejected by name, and the engine moves them inside, so that none traps")
    func ranges() {
        for value in [Int64.min, -1, 0, 1000, .max] {
            var given = LeaseSettings()
            for field in LeaseSettings.Field.allCases {
                given[field] = value
                var one = LeaseSettings()
                one[field] = value
                guard !(field.range ~= value) else { continue }
                #expect(throws: InvalidSetting.self, "\(field) = \(value)") { try one.validate() }
            }
            let settings = given.bounded
            #expect(throws: InvalidSetting.self) { try given.validate() }
            #expect(LeaseSettings.Field.leaseDuration.range ~= settings.durationMilliseconds)
            #expect(LeaseSettings.Field.clockDrift.range ~= settings.clockDriftPerMille)
            #expect(LeaseSettings.Field.leaseAlone.range ~= Int64(settings.soloMultiplier))
            // A drift of 1000 would divide by zero here.
            #expect(settings.localMilliseconds(1000) >= 1000)
            #expect(settings.expiry(sentAt: Instant(milliseconds: 1)) > Instant(milliseconds: 1))
            let request = DemandSizing().requested(
                for: SizingInput(limit: .standard, demandPerSecond: 10, held: 0), settings: settings)
            #expect(request.prefetchTokens >= 0)
        }
    }
}
