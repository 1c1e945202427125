internal import Cistern
internal import HeapModule

/// What an ideal bucket would have done with the same requests: one that is in one place, knows all of them, and takes no
/// time.
struct IdealBucket {
    private let capacity: Double
    private let perNanosecond: Double
    private var level: Double
    private var last: Int64?

    /// - Parameter allowance: tokens that may be there beyond the capacity, for clocks that are read in steps.
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

    /// How many of these requests an ideal bucket would have admitted, as they arrived.
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

    /// How many of the admissions an ideal bucket could not have made, at whatever moment each was decided.
    ///
    /// Each is given the best moment that it can have been decided at: tokens go, as soon as they are there, to the
    /// admission that was over first. One that is over and has had none is in excess; so what is counted is certain.
    /// A millisecond of refill is allowed for, since Redis counts time in whole ones.
    static func excess(_ requests: [MeteredRequest], limit: Limit) -> Int {
        grouped(requests.filter(\.isAllowed)).reduce(0) { $0 + excessOfOne($1, limit: limit) }
    }

    private static func excessOfOne(_ admissions: [MeteredRequest], limit: Limit) -> Int {
        var bucket = IdealBucket(limit, allowance: limit.refillPerSecond / 1000)
        var waiting = Heap<Int64>()
        var excess = 0
        func serve(until moment: Int64) {
            // Whatever can be paid by then is, each as early as the tokens come.
            while let deadline = waiting.min {
                if bucket.take() {
                    waiting.removeMin()
                    continue
                }
                let missing = Int64(((1 - bucket.level) / bucket.perNanosecond).rounded(.up))
                let due = (bucket.last ?? moment) + missing
                if deadline < min(due, moment) {
                    waiting.removeMin()
                    excess += 1
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
        return excess
    }

    private static func grouped(_ requests: [MeteredRequest]) -> [[MeteredRequest]] {
        Array(Dictionary(grouping: requests, by: \.organization).values)
    }
}
