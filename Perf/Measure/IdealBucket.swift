internal import Cistern
internal import HeapModule

/// An ideal bucket: one bucket in one place that sees every request, with no delay.
struct IdealBucket {
    private let capacity: Double
    private let perNanosecond: Double
    private var level: Double
    private var last: Int64?

    /// - Parameter allowance: tokens beyond the capacity, to allow for clocks with a coarse resolution.
    init(_ limit: Limit, allowance: Double = 0) {
        capacity = Double(limit.capacity) + allowance
        perNanosecond = limit.refillPerSecond / 1e9
        level = capacity
    }

    private mutating func refill(to nanoseconds: Int64) {
        if let last { level = min(capacity, level + Double(max(0, nanoseconds - last)) * perNanosecond) }
        last = max(nanoseconds, last ?? nanoseconds)
    }

    private mutating func take() -> Bool {
        guard level >= 1 - 1e-6 else { return false }
        level -= 1
        return true
    }

    /// Returns how many of the requests an ideal bucket would have admitted, in order of arrival.
    static func admissible(_ requests: [MeteredRequest], limit: Limit) -> Int {
        grouped(requests).reduce(0) { sum, requests in
            var bucket = IdealBucket(limit)
            return sum
                + requests.sorted { $0.arrivedAt < $1.arrivedAt }.count { request in
                    bucket.refill(to: request.arrivedAt)
                    return bucket.take()
                }
        }
    }

    /// Returns the minimum over-admission, over all possible decision times.
    ///
    /// Tokens go first to the admission with the earliest ``MeteredRequest/latest``; one unpaid at that time counts.
    /// A millisecond of refill is allowed for, because Redis counts time in whole milliseconds.
    static func overAdmission(_ requests: [MeteredRequest], limit: Limit) -> Int {
        grouped(requests.filter(\.isAllowed)).reduce(0) { $0 + excessOfOne($1, limit: limit) }
    }

    private static func excessOfOne(_ admissions: [MeteredRequest], limit: Limit) -> Int {
        var bucket = IdealBucket(limit, allowance: limit.refillPerSecond / 1000)
        var waiting = Heap<Int64>()
        var overAdmission = 0
        func serve(until moment: Int64) {
            // Pays every admission that can be paid by `moment`, each as soon as its token is there.
            while let deadline = waiting.min {
                if bucket.take() {
                    waiting.removeMin()
                    continue
                }
                let missing = Int64(((1 - bucket.level) / bucket.perNanosecond).rounded(.up))
                let due = (bucket.last ?? moment) + missing
                if deadline < min(due, moment) {
                    waiting.removeMin()
                    overAdmission += 1
                } else if due <= moment {
                    bucket.refill(to: due)
                } else {
                    break
                }
            }
            bucket.refill(to: moment)
        }
        for admission in admissions.sorted(by: { $0.earliest < $1.earliest }) {
            serve(until: admission.earliest)
            waiting.insert(admission.latest)
        }
        serve(until: .max / 2)
        return overAdmission
    }

    private static func grouped(_ requests: [MeteredRequest]) -> [[MeteredRequest]] {
        Array(Dictionary(grouping: requests, by: \.organization).values)
    }
}
