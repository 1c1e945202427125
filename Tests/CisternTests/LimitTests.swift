import Cistern
import Testing

@Suite("A limit")
struct LimitTests {
    @Test("a limit keeps its capacity and its rate, to 0.001 tokens per second")
    func keepsItsNumbers() throws {
        let limit = try Limit(capacity: 100, refillPerSecond: 10)
        #expect(limit.capacity == 100)
        #expect(limit.refillPerSecond == 10)
        #expect(limit == .standard)
        #expect(try Limit(capacity: 1, refillPerSecond: 0.333).refillPerSecond == 0.333)
        #expect(try Limit(capacity: 1_000_000_000, refillPerSecond: 1_000_000_000).capacity == 1_000_000_000)
    }

    @Test(
        "an invalid limit throws an error that names the field, the value and the remedy",
        arguments: [
            (0, 10.0, "capacity is 0: use a whole number of tokens from 1 to 1000000000"),
            (-1, 10, "capacity is -1: use a whole number of tokens from 1 to 1000000000"),
            (1_000_000_001, 10, "capacity is 1000000001: use a whole number of tokens from 1 to 1000000000"),
            (
                100, 0,
                "refillPerSecond is 0.0: use tokens per second from 0.001 to 1000000000 with at most three decimals"
            ),
            (
                100, -5,
                "refillPerSecond is -5.0: use tokens per second from 0.001 to 1000000000 with at most three decimals"
            ),
            (
                100, 0.3333,
                "refillPerSecond is 0.3333: use tokens per second from 0.001 to 1000000000 with at most three decimals"
            ),
            (
                100, .nan,
                "refillPerSecond is nan: use tokens per second from 0.001 to 1000000000 with at most three decimals"
            ),
            (
                100, .infinity,
                "refillPerSecond is inf: use tokens per second from 0.001 to 1000000000 with at most three decimals"
            ),
            (
                1_000_000_000, 1,
                "refillPerSecond is 1.0: a bucket of 1000000000 would take over ten years to fill; raise the rate or "
                    + "lower capacity"
            ),
        ])
    func refusesWhatCannotBe(capacity: Int, refillPerSecond: Double, message: String) {
        let error = #expect(throws: LimitError.self) {
            try Limit(capacity: capacity, refillPerSecond: refillPerSecond)
        }
        #expect(error?.description == message)
    }

    @Test("a limit set for one key leaves other keys at the default")
    func looksUpByName() throws {
        let generous = try Limit(capacity: 5000, refillPerSecond: 500)
        let limits = Limits(standard: .standard, byKey: ["acme": generous])
        #expect(limits.limit(of: "acme".utf8.span) == generous)
        #expect(limits.limit(of: "acm".utf8.span) == .standard)
    }
}
