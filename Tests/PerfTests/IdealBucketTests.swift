import Cistern
import Testing

@testable import Perf

@Suite("The ideal bucket")
struct IdealBucketTests {
    private let limit = Limit.standard

    private func request(
        _ milliseconds: Int64, until latest: Int64? = nil, organization: UInt32 = 0, isAllowed: Bool = true
    ) -> MeteredRequest {
        let (earliest, latest) = (milliseconds * 1_000_000, (latest ?? milliseconds) * 1_000_000)
        return MeteredRequest(
            organization: organization, isAllowed: isAllowed, arrivedAt: earliest, earliest: earliest, latest: latest)
    }

    @Test("requests that 100 tokens and 10 tokens a second can pay are no over-admission")
    func withinTheLimit() {
        let burst = (0..<100).map { _ in request(0) }
        let after = (1...50).map { request(Int64($0) * 100) }
        #expect(IdealBucket.overAdmission(burst + after, limit: limit) == 0)
    }

    @Test("each token of over-admission is counted, in any order of the admissions")
    func beyondTheLimit() {
        let burst = (0..<103).map { _ in request(0) }
        #expect(IdealBucket.overAdmission(burst, limit: limit) == 3)
        let after = (1...50).map { request(Int64($0) * 50) }
        #expect(IdealBucket.overAdmission((Array(burst.prefix(100)) + after).shuffled(), limit: limit) == 25)
    }

    @Test("an admission counts at the most favorable instant at which it can have been decided")
    func windows() {
        let burst = (0..<100).map { _ in request(0) }
        // The next token comes after 100 ms, in time for only one admission.
        #expect(IdealBucket.overAdmission(burst + [request(0, until: 100)], limit: limit) == 0)
        #expect(IdealBucket.overAdmission(burst + [request(0, until: 90)], limit: limit) == 1)
        #expect(
            IdealBucket.overAdmission(burst + [request(0, until: 110), request(50, until: 110)], limit: limit) == 1)
    }

    @Test("organizations are kept apart, and only admissions count")
    func organizations() {
        let requests = (0..<200).map { request(0, organization: UInt32($0 % 2)) }
        #expect(IdealBucket.overAdmission(requests, limit: limit) == 0)
        let denied = (0..<50).map { _ in request(0, isAllowed: false) }
        #expect(IdealBucket.overAdmission(requests + denied, limit: limit) == 0)
        #expect(IdealBucket.overAdmission(requests + [request(0)], limit: limit) == 1)
    }

    @Test("the number of requests that could have been admitted is known")
    func admissible() {
        let burst = (0..<150).map { _ in request(0, isAllowed: false) }
        let after = (1...10).map { request(Int64($0) * 50, isAllowed: false) }
        #expect(IdealBucket.admissible(burst + after, limit: limit) == 105)
    }
}
