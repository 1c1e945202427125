import Cistern
import CisternSimulation

/// Defects of the protocol, one for each trap that it must avoid.
///
/// They are put into the messages and the store's books around the decision code, which stays as it is.
enum Mutants {
    private static let token = Limit.microtokensPerToken

    /// Has tokens stay with servers that fell silent, so that leases come to their ends.
    private static func letLeasesLapse(_ settings: inout LimiterSettings) {
        settings.lease.idleMilliseconds = 60_000
    }

    /// Refill stops at C instead of C − O.
    struct CapLeftOut: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let before = bucket.overflow
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            let refused = max(0, bucket.overflow - before)
            let room = max(0, request.limit.capacityMicrotokens - bucket.balanceMicrotokens)
            bucket.balanceMicrotokens += min(refused, room)
            return .some(grant)
        }
    }

    /// The lease is counted from when the answer came: it lasts longer at the server than at the store.
    struct TimedFromReply: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.durationMilliseconds -= 150
        }

        func change(_ settings: inout LimiterSettings) { Mutants.letLeasesLapse(&settings) }
    }

    /// The tokens of a lease that ran out go back into the bucket, as if none had been spent.
    struct ExpiryCredited: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let milliseconds = now.storeMilliseconds
            for record in bucket.records
            where record.endsMilliseconds <= milliseconds && record.lesseeID != request.lesseeID {
                bucket.balanceMicrotokens += Int64(record.tokens) * token
            }
            bucket.records.removeAll { $0.endsMilliseconds <= milliseconds && $0.lesseeID != request.lesseeID }
            return nil
        }
    }

    /// A give-back that comes late or twice is credited again.
    struct LateReturnCredited: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            if grant == nil { bucket.balanceMicrotokens += Int64(request.returned) * token }
            return .some(grant)
        }
    }

    /// A server has two requests in flight at once for an organization, and spends what both bring.
    struct TwoInFlight: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.sequence *= 2
            request.acknowledged = request.acknowledged * 2 + 1
        }

        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            var second = request
            second.sequence += 1
            guard var both = bucket.apply(request, nowMilliseconds: now.storeMilliseconds) else { return .some(nil) }
            guard let other = bucket.apply(second, nowMilliseconds: now.storeMilliseconds) else { return .some(both) }
            both.tokens = min(request.limit.capacity - both.trickleTokens, both.tokens + other.tokens)
            return .some(both)
        }
    }

    /// A server spends what a lost answer brought, once it comes, though the store has taken it back.
    struct LateReplySpent: FaultInjection {
        private var unanswered: [String: [UInt64: Int]] = [:]

        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            unanswered["\(request.lesseeID)/\(key)", default: [:]][request.sequence] = grant?.tokens
            return .some(grant)
        }

        mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            let key = "\(request.lesseeID)/\(request.key.last.map { Int($0) - 48 } ?? 0)"
            let late = unanswered[key, default: [:]].filter { $0.key < request.sequence }.values.reduce(0, +)
            unanswered[key] = unanswered[key]?.filter { $0.key > request.sequence }
            grant.tokens = min(request.limit.capacity - grant.trickleTokens, grant.tokens + late)
        }
    }

    /// The store takes back what was granted last, whether the answer arrived or not.
    struct AcknowledgementIgnored: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.acknowledged = 0
        }
    }

    /// The store does not forget a lease whose answer was lost, or whose server crashed: it counts for ever.
    struct NeverExpires: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            for index in bucket.records.indices {
                bucket.records[index].endsMilliseconds = now.storeMilliseconds + 1000
            }
            return nil
        }
    }

    /// Clocks are taken to be right.
    struct NoClockMargin: FaultInjection {
        func change(_ settings: inout LimiterSettings) {
            settings.lease.clockDriftPerMille = 0
            Mutants.letLeasesLapse(&settings)
        }
    }

    /// A server that starts again goes on under its old name.
    struct OldName: FaultInjection {
        func lesseeID(_ name: String, server: Int) -> String { "server-\(server)" }
    }

    /// More of the inflow is promised than there is.
    struct TricklesExceedRefill: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let paces = bucket.records.map { ($0.lesseeID, $0.trickleRate) }
            for index in bucket.records.indices { bucket.records[index].trickleRate = 0 }
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            for (lesseeID, trickleRate) in paces where lesseeID != request.lesseeID {
                if let index = bucket.records.firstIndex(where: { $0.lesseeID == lesseeID }) {
                    bucket.records[index].trickleRate = trickleRate
                }
            }
            return .some(grant)
        }
    }

    /// A server says that it has spent nothing for longer than is true.
    struct UnspentTimeOverstated: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.unspentMilliseconds += 300
        }
    }

    /// A server says that it spent tokens earlier than it did.
    struct HalfSpendOverstated: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.halfSpentMilliseconds += 300
        }
    }

    /// What spilled is made good to everyone who asks.
    struct OverflowCreditedTwice: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let before = bucket.overflow
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            bucket.overflow = max(before, bucket.overflow)
            return .some(grant)
        }
    }

    /// A request that comes once more, after a later one, is acted on again.
    struct DuplicateActedOn: FaultInjection {
        private var count: UInt64 = 0
        private var earlier: [String: LeaseRequest] = [:]

        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let key = "\(request.lesseeID)/\(key)"
            defer { earlier[key] = request }
            let grant = apply(request, to: &bucket, now: now)
            // The network brings every tenth a second time.
            if count % 10 == 0, let late = earlier[key] { _ = apply(late, to: &bucket, now: now) }
            return .some(grant)
        }

        private mutating func apply(_ request: LeaseRequest, to bucket: inout StoreBucket, now: Time) -> Grant? {
            var request = request
            count += 1
            request.sequence = count
            request.acknowledged = count
            return bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
        }
    }

    /// The store says that nothing is open, whatever there is.
    struct OpenUnderstated: FaultInjection {
        mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            grant.openMicrotokens = 0
            grant.openRefillMicrotokensPerMillisecond = 0
        }
    }

    /// A request without an answer waits for it.
    struct NoDeadline: FaultInjection {
        var honorsDeadlines: Bool { false }
    }

    /// A node that was down is never tried again.
    struct NoProbe: FaultInjection {
        var probes: Bool { false }
    }

    /// All organizations of a node have one bucket.
    struct OneBucketForAll: FaultInjection {
        func bucket(of key: Int) -> Int { 0 }
    }

    /// A server makes a token of its own.
    struct TokenFromNowhere: FaultInjection {
        mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            if grant.tokens + grant.trickleTokens < request.limit.capacity { grant.tokens += 1 }
        }
    }

    /// Half of what is granted ahead of use gets lost on the way.
    struct GrantsHalved: FaultInjection {
        mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            let ahead = max(0, grant.tokens - request.needed)
            grant.tokens -= ahead / 2
            grant.trickleTokens -= grant.trickleTokens / 2
        }
    }

    /// The store does not notice that its clock has stepped back.
    struct StepUnnoticed: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            for index in bucket.records.indices
            where bucket.records[index].askedAtMilliseconds > now.storeMilliseconds {
                bucket.records[index].askedAtMilliseconds = now.storeMilliseconds
            }
            return nil
        }
    }
}
