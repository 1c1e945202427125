import Cistern
import CisternSimulation

/// Defects of the protocol, one for each error that it must avoid.
///
/// They alter the messages and the records of the store. The decision code itself is unchanged.
enum Mutants {
    /// Keeps idle servers from returning tokens, so that leases expire.
    private static func letLeasesLapse(_ settings: inout LimiterSettings) {
        settings.lease.idleMilliseconds = 60_000
    }

    /// Refill stops at C instead of C − O.
    struct OutstandingIgnored: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let before = bucket.overflowUnits
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            let refused = max(0, bucket.overflowUnits - before)
            let room = max(0, request.limit.capacityUnits - bucket.balanceUnits)
            bucket.balanceUnits += min(refused, room)
            return .some(grant)
        }
    }

    /// A lease counts from the reply instead of the request, so it lasts longer at the server than at the store.
    struct TimedFromReply: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.durationMilliseconds -= 150
        }

        func change(_ settings: inout LimiterSettings) { Mutants.letLeasesLapse(&settings) }
    }

    /// The tokens of an expired lease return to the bucket, as if none had been spent.
    struct ExpiryCredited: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let time = bucket.time(atClock: now.storeMilliseconds)
            for slot in bucket.expirySlots where slot.endsMilliseconds <= time {
                bucket.balanceUnits += request.limit.units(of: slot.tokens)
            }
            bucket.expirySlots.removeAll { $0.endsMilliseconds <= time }
            return nil
        }
    }

    /// A late or duplicate return is credited again.
    struct LateReturnCredited: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            if grant == nil { bucket.balanceUnits += request.limit.units(of: request.returned) }
            return .some(grant)
        }
    }

    /// A server has two requests for one key in flight at once, and spends both grants.
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

    /// A server spends the grant of a late reply, although the store has taken the grant back.
    struct LateReplySpent: FaultInjection {
        private var unanswered: [String: [UInt64: Int]] = [:]

        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            unanswered["\(request.lesseeID)/\(key)", default: [:]][request.sequence] = grant?.tokens
            return .some(grant)
        }

        mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            let key = "\(request.lesseeID)/\(request.key.last.map { Int($0) - 48 } ?? 0)"
            let late = unanswered[key, default: [:]].filter { $0.key < request.sequence }.values.reduce(0, +)
            unanswered[key] = unanswered[key]?.filter { $0.key > request.sequence }
            grant.tokens = min(request.limit.capacity - grant.trickleTokens, grant.tokens + late)
        }
    }

    /// The store takes back the last grant, whether its reply arrived or not.
    struct AcknowledgementIgnored: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.acknowledged = 0
        }
    }

    /// A lease whose reply was lost, or whose server crashed, never expires at the store.
    struct NeverExpires: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let later = bucket.time(atClock: now.storeMilliseconds) + 1000
            let live = bucket.records.filter { $0.value.endsMilliseconds > bucket.asOfMilliseconds }
            for lesseeID in live.keys { bucket.records[lesseeID]?.endsMilliseconds = later }
            bucket.expirySlots = [
                ExpirySlot(
                    endsMilliseconds: later, tokens: bucket.outstanding,
                    weight: bucket.expirySlots.reduce(0) { $0 + $1.weight },
                    lessees: bucket.expirySlots.reduce(0) { $0 + $1.lessees })
            ]
            return nil
        }
    }

    /// The end of a lease is rounded down to a slot instead of up, so that it expires early at the store.
    struct SlotExpiresEarly: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            var request = request
            request.durationMilliseconds -= request.durationMilliseconds / 8
            return .some(bucket.apply(request, nowMilliseconds: now.storeMilliseconds))
        }

        func change(_ settings: inout LimiterSettings) { Mutants.letLeasesLapse(&settings) }
    }

    /// Clocks are assumed to be exact: there is no drift margin.
    struct NoClockMargin: FaultInjection {
        func change(_ settings: inout LimiterSettings) {
            settings.lease.clockDriftPerMille = 0
            Mutants.letLeasesLapse(&settings)
        }
    }

    /// A restarted server keeps its old lessee name.
    struct LesseeIDReused: FaultInjection {
        func lesseeID(_ name: String, server: Int) -> String { "server-\(server)" }
    }

    /// Trickle grants together exceed the refill.
    struct TricklesExceedRefill: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let hidden = bucket.trickleSlots
            bucket.trickleSlots = []
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            bucket.trickleSlots += hidden.filter { $0.endsMilliseconds > bucket.asOfMilliseconds }
            return .some(grant)
        }
    }

    /// A server overstates how long it has spent nothing.
    struct UnspentTimeOverstated: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.millisecondsSinceLastSpend += 300
        }
    }

    /// A server overstates how long ago it spent half of its lease.
    struct HalfSpendOverstated: FaultInjection {
        mutating func willSend(_ request: inout LeaseRequest) {
            request.halfSpentMilliseconds += 300
        }
    }

    /// Overflow is credited to every lessee that asks.
    struct OverflowCreditedTwice: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let before = bucket.overflowUnits
            let grant = bucket.apply(request, nowMilliseconds: now.storeMilliseconds)
            bucket.overflowUnits = max(before, bucket.overflowUnits)
            return .some(grant)
        }
    }

    /// A duplicate request that arrives after a later one is executed again.
    struct DuplicateActedOn: FaultInjection {
        private var count: UInt64 = 0
        private var earlier: [String: LeaseRequest] = [:]

        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            let key = "\(request.lesseeID)/\(key)"
            defer { earlier[key] = request }
            let grant = apply(request, to: &bucket, now: now)
            // The network duplicates every tenth request.
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

    /// The store always reports an open balance of zero.
    struct OpenUnderstated: FaultInjection {
        mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            grant.openUnits = 0
            grant.openRefillUnitsPerMillisecond = 0
        }
    }

    /// A request waits for the store's reply without a deadline.
    struct NoDeadline: FaultInjection {
        var honorsDeadlines: Bool { false }
    }

    /// A node that was down is never probed again.
    struct NoProbe: FaultInjection {
        var probes: Bool { false }
    }

    /// All keys of a node share one bucket.
    struct OneBucketForAll: FaultInjection {
        func bucket(of key: Int) -> Int { 0 }
    }

    /// A server adds a token to each grant.
    struct TokenFromNowhere: FaultInjection {
        mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            if grant.tokens + grant.trickleTokens < request.limit.capacity { grant.tokens += 1 }
        }
    }

    /// Half of the prefetch tokens and half of the trickle grant are lost in transit.
    struct GrantsHalved: FaultInjection {
        mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time) {
            let prefetchTokens = max(0, grant.tokens - request.missingTokens)
            grant.tokens -= prefetchTokens / 2
            grant.trickleTokens -= grant.trickleTokens / 2
        }
    }

    /// The store does not notice that its clock has stepped back.
    struct ClockStepIgnored: FaultInjection {
        mutating func act(
            on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
        ) -> Grant?? {
            bucket.asOfMilliseconds = min(
                bucket.asOfMilliseconds, now.storeMilliseconds + bucket.clockOffsetMilliseconds)
            return nil
        }
    }
}
