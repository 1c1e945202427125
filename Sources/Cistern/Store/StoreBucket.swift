/// One key's bucket as a shared store keeps it: the balance, and the tokens leased to each lessee.
///
/// This is the arithmetic of the store as a value without IO. The script in Redis is its twin: the same steps in the
/// same order on the same integers, so that both give the same responses to the same requests.
///
/// C is the capacity, R the refill rate, T the balance and O the tokens on record. Four rules hold after every step.
/// Together they keep the total that all lessees admit within C + R·t (see Architecture.md):
///
/// - T + O ≤ C.
/// - O ≤ C.
/// - The rates of the running trickle grants add up to at most R.
/// - At most the open tokens are granted at once: T plus the tokens of trickle grants that have not arrived yet.
public struct StoreBucket: Sendable, Equatable {
    /// The store's record of one lessee.
    package struct Record: Sendable, Equatable {
        package var lesseeID: String
        /// The sequence number of the last request that was applied.
        package var sequence: UInt64
        /// Outstanding tokens, as far as the store knows.
        ///
        /// A trickle grant counts in full from when it is granted.
        package var tokens: Int
        /// When the record expires.
        package var endsMilliseconds: Int64
        /// The lessee's weight for its part of balance and refill, in thousandths of a token per second.
        package var weight: Int64
        /// The rate of the trickle grant, in microtokens per millisecond.
        package var trickleRate: Int64
        /// When the trickle grant ends.
        package var trickleEndsMilliseconds: Int64
        /// The tokens granted to the last request; taken back unless the next request acknowledges them.
        package var unacknowledged: Int
        /// When the last request was applied.
        package var lastRequestMilliseconds: Int64
        /// ``StoreBucket/overflowMicrotokens`` at that time.
        package var overflowMicrotokens: Int64

        package init(
            lesseeID: String, sequence: UInt64, tokens: Int, endsMilliseconds: Int64, weight: Int64, trickleRate: Int64,
            trickleEndsMilliseconds: Int64, unacknowledged: Int, lastRequestMilliseconds: Int64,
            overflowMicrotokens: Int64
        ) {
            self.lesseeID = lesseeID
            self.sequence = sequence
            self.tokens = tokens
            self.endsMilliseconds = endsMilliseconds
            self.weight = weight
            self.trickleRate = trickleRate
            self.trickleEndsMilliseconds = trickleEndsMilliseconds
            self.unacknowledged = unacknowledged
            self.lastRequestMilliseconds = lastRequestMilliseconds
            self.overflowMicrotokens = overflowMicrotokens
        }

        /// Whether a server can have written the record; any other record is a mistake and holds no tokens.
        package var isPlausible: Bool {
            guard 0...Limit.maximumCapacity ~= tokens, 0..<StoreBucket.overflowModulus ~= lastRequestMilliseconds,
                endsMilliseconds > lastRequestMilliseconds,
                endsMilliseconds <= lastRequestMilliseconds + LeaseSettings.Field.leaseDuration.range.upperBound
            else { return false }
            let (trickle, overflows) = trickleRate.multipliedReportingOverflow(
                by: trickleEndsMilliseconds - lastRequestMilliseconds)
            return !overflows && trickle <= Int64(tokens) * Limit.microtokensPerToken
        }

        /// Shifts a record from the future so that it begins now.
        fileprivate mutating func shiftToStart(noLaterThan now: Int64) {
            let leadMilliseconds = lastRequestMilliseconds - now
            guard leadMilliseconds > 0 else { return }
            lastRequestMilliseconds = now
            endsMilliseconds -= leadMilliseconds
            trickleEndsMilliseconds = max(0, trickleEndsMilliseconds - leadMilliseconds)
        }
    }

    /// T, in microtokens; may be negative, because trickle grants debit future refill.
    package var balanceMicrotokens: Int64
    /// When T was up to date, on the store's clock.
    package var asOfMilliseconds: Int64
    /// One record per lessee, in the order of their last requests.
    package var records: [Record] = []
    /// The refill that found no room, minus the part that was credited later; in microtokens, modulo 2^52.
    package var overflowMicrotokens: Int64 = 0

    /// Creates a full bucket.
    ///
    /// - Parameters:
    ///   - limit: the limit of the key.
    ///   - nowMilliseconds: the time on the store's clock, which must be the same for all lessees.
    public init(full limit: Limit, nowMilliseconds: Int64) {
        balanceMicrotokens = limit.capacityMicrotokens
        asOfMilliseconds = nowMilliseconds
    }

    private static var microtokensPerToken: Int64 { Limit.microtokensPerToken }

    /// Outstanding tokens of all lessees.
    public var outstanding: Int { records.reduce(0) { $0 + $1.tokens } }

    /// How long the store keeps an unused bucket, in milliseconds.
    ///
    /// Longer than any lease plus the time to fill the bucket, since an expired bucket comes back full.
    public static func timeToLiveMilliseconds(of limit: Limit, leaseMilliseconds: Int64) -> Int64 {
        let fill = limit.millisecondsToGain(limit.capacityMicrotokens)
        return max(60_000, 2 * fill, leaseMilliseconds + fill)
    }

    /// Applies a request; nil, without a change, if a later request of the same lessee came first.
    public mutating func apply(_ request: LeaseRequest, nowMilliseconds now: Int64) -> Grant? {
        let before = records.first { $0.lesseeID == request.lesseeID }
        if let before, request.sequence <= before.sequence, before.endsMilliseconds > now { return nil }
        handleClockStepBack(of: request.lesseeID, now: now)
        let own = records.first { $0.lesseeID == request.lesseeID }
        let report = Self.report(own, in: request, now: now)
        refill(around: report, own: own, of: request.lesseeID, limit: request.limit, now: now)
        var others = OtherLessees(records, now: now)
        let answer = grant(request, held: report.held, others: &others)
        let outstanding = report.held + answer.tokens + answer.trickleTokens
        records.append(
            Record(
                lesseeID: request.lesseeID, sequence: request.sequence, tokens: outstanding,
                endsMilliseconds: now + request.durationMilliseconds, weight: request.requested.weight,
                trickleRate: answer.trickleTokens > 0 ? others.grantedTrickleRate : 0,
                trickleEndsMilliseconds: now + answer.trickleMilliseconds,
                unacknowledged: answer.tokens + answer.trickleTokens, lastRequestMilliseconds: now,
                overflowMicrotokens: overflowMicrotokens))
        return answer
    }

    /// Refills the bucket and releases expired leases as the next request would, without a report or a grant.
    package mutating func catchUp(_ limit: Limit, nowMilliseconds now: Int64) {
        handleClockStepBack(of: "", now: now)
        refill(around: Report(), own: nil, of: "", limit: limit, now: now)
    }

    /// Fills the bucket up to the capacity less the outstanding tokens.
    ///
    /// Spent tokens that are still on record count as outstanding, since the store does not know of the spending. So a
    /// server that fills a bucket reports its own spending first.
    package mutating func fill(_ limit: Limit, nowMilliseconds now: Int64) {
        records.removeAll { $0.endsMilliseconds <= now }
        balanceMicrotokens = Int64(max(0, limit.capacity - outstanding)) * Self.microtokensPerToken
        asOfMilliseconds = now
    }

    // MARK: Clock steps

    /// Moves records from the future to now: the store's clock has stepped back since they were written.
    ///
    /// It is unknown how much of each running trickle grant has arrived, so the balance is charged with all that seems
    /// to be left of it. Earlier overflow is not credited, since times before and after the step cannot be compared.
    private mutating func handleClockStepBack(of lesseeID: String, now: Int64) {
        guard records.contains(where: { $0.lastRequestMilliseconds > now }) else { return }
        for index in records.indices {
            records[index].shiftToStart(noLaterThan: now)
            records[index].overflowMicrotokens = overflowMicrotokens
            let (record, left) = (records[index], records[index].trickleEndsMilliseconds - now)
            guard record.lesseeID != lesseeID, record.endsMilliseconds > now, left > 0 else { continue }
            balanceMicrotokens -= record.trickleRate * left
        }
    }

    // MARK: Reports

    /// A request's report on the lessee's own record.
    private struct Report {
        /// Tokens of the record that the lessee still holds.
        var held = 0
        /// Tokens that go back to the balance.
        var credit = 0
        /// Tokens spent or lost, in up to two parts, each with the time at which it was spent or lost.
        var spent: [(tokens: Int, moment: Int64)] = []
    }

    /// Compares a report with the record: a report can lower the record, never raise it.
    private static func report(_ own: Record?, in request: LeaseRequest, now: Int64) -> Report {
        guard let own else { return Report() }
        let quiet = now - request.millisecondsSinceLastSpend
        guard own.endsMilliseconds > now else {
            let moment = request.held > 0 ? own.endsMilliseconds : min(quiet, own.endsMilliseconds)
            return Report(spent: [(own.tokens, moment)])
        }
        let unacknowledged = own.sequence > request.acknowledged ? own.unacknowledged : 0
        let held = min(own.tokens, request.held)
        let credit = min(request.returned + unacknowledged, own.tokens - held)
        let spent = own.tokens - held - credit
        let early = min(request.halfSpentTokens, spent)
        let parts = [(early, min(quiet, now - request.halfSpentMilliseconds)), (spent - early, quiet)]
        return Report(held: held, credit: credit, spent: parts.filter { $0.0 > 0 })
    }

    /// Brings the balance up to date, and removes the lessee's own record and the expired ones.
    ///
    /// Refill stops at C − O at every moment, so it is computed in steps, up to each spending, loss and expiry.
    /// If tokens were spent before the last refill, the overflow since they were spent is credited.
    private mutating func refill(around report: Report, own: Record?, of lesseeID: String, limit: Limit, now: Int64) {
        var endings = report.spent
        for record in records where record.lesseeID != lesseeID && record.endsMilliseconds <= now {
            endings.append((record.tokens, record.endsMilliseconds))
        }
        let onRecord = Int64(outstanding) * Self.microtokensPerToken
        var ceiling = limit.capacityMicrotokens - onRecord
        records.removeAll { $0.lesseeID == lesseeID || $0.endsMilliseconds <= now }
        // Trickle grants may make the balance negative, but never by more than the tokens on record.
        // If the clock was set back, the refill continues from `now`.
        balanceMicrotokens = min(max(balanceMicrotokens, -onRecord), max(0, ceiling))
        asOfMilliseconds = min(asOfMilliseconds, now)
        if let own, own.endsMilliseconds > now {
            for part in report.spent { creditOverflow(part.tokens, spentAt: part.moment, own: own, limit: limit) }
        }
        for ending in endings.sorted(by: { $0.moment < $1.moment }) {
            refillUntil(limit, ceiling: ceiling, until: ending.moment)
            ceiling += Int64(ending.tokens) * Self.microtokensPerToken
        }
        refillUntil(limit, ceiling: ceiling, until: now)
        balanceMicrotokens += Int64(report.credit) * Self.microtokensPerToken
    }

    private mutating func refillUntil(_ limit: Limit, ceiling: Int64, until now: Int64) {
        let elapsed = now - asOfMilliseconds
        guard elapsed > 0 else { return }
        var bucket = TokenBucket(microtokens: balanceMicrotokens, asOfMilliseconds: asOfMilliseconds)
        bucket.refill(limit, ceilingMicrotokens: ceiling, nowMilliseconds: now)
        let (inflow, overflows) = elapsed.multipliedReportingOverflow(by: limit.refillMicrotokensPerMillisecond)
        let refused = overflows ? Int64.max : inflow - (bucket.microtokens - balanceMicrotokens)
        overflowMicrotokens = Self.moduloOverflow(overflowMicrotokens + min(refused, limit.capacityMicrotokens))
        balanceMicrotokens = bucket.microtokens
        asOfMilliseconds = now
    }

    /// Credits the overflow since some tokens were spent, up to the number of tokens spent.
    ///
    /// The overflow since the lessee's last request is known. The overflow since the tokens were spent is less, by at
    /// most the refill between these two moments.
    private mutating func creditOverflow(_ tokens: Int, spentAt moment: Int64, own: Record, limit: Limit) {
        guard tokens > 0, moment < asOfMilliseconds else { return }
        var since = Self.moduloOverflow(overflowMicrotokens - own.overflowMicrotokens)
        if since >= Self.overflowModulus / 2 { since = 0 }
        let before = max(0, moment - own.lastRequestMilliseconds)
        let (most, overflows) = before.multipliedReportingOverflow(by: limit.refillMicrotokensPerMillisecond)
        let found = overflows ? 0 : min(Int64(tokens) * Self.microtokensPerToken, max(0, since - most))
        balanceMicrotokens += found
        overflowMicrotokens = Self.moduloOverflow(overflowMicrotokens - found)
    }

    /// The modulus of ``overflowMicrotokens``: above any sum of two capacities, and exact in a double.
    fileprivate static let overflowModulus: Int64 = 1 << 52

    /// An amount modulo 2^52, as ``overflowMicrotokens`` is stored.
    package static func moduloOverflow(_ amount: Int64) -> Int64 {
        amount & (overflowModulus - 1)
    }

    // MARK: Grants

    /// The records of the other lessees, added up.
    private struct OtherLessees {
        var tokens = 0
        var weight: Int64 = 0
        /// The sum of the rates of their trickle grants.
        var trickleRate: Int64 = 0
        /// The part of their trickle grants that is still to come.
        var trickleRemainingMicrotokens: Int64 = 0
        /// The rate of the trickle grant made to the requesting lessee.
        var grantedTrickleRate: Int64 = 0

        init(_ records: [Record], now: Int64) {
            for record in records {
                tokens += record.tokens
                weight += record.weight
                if record.trickleEndsMilliseconds > now {
                    trickleRate += record.trickleRate
                    trickleRemainingMicrotokens += record.trickleRate * (record.trickleEndsMilliseconds - now)
                }
            }
        }
    }

    /// Pays the waiting requests, then grants prefetch tokens.
    ///
    /// Prefetch tokens are granted at once up to the lessee's part of the balance; the rest is a trickle grant.
    private mutating func grant(_ request: LeaseRequest, held: Int, others: inout OtherLessees) -> Grant {
        let (limit, requested) = (request.limit, request.requested)
        let room = max(0, limit.capacity - others.tokens - held)
        let open = balanceMicrotokens + others.trickleRemainingMicrotokens
        let whole = min(room, Int(max(0, open) / Self.microtokensPerToken))
        let (paid, everything) = Self.pay(request.waiting, outOf: held + whole)
        var granted = max(0, paid - held)

        // Prefetching never raises the outstanding tokens above half of the capacity: the rest is there for all.
        let spare = max(0, limit.capacity / 2 - others.tokens - held - granted)
        let isSolo = others.weight == 0
        let factor = isSolo ? requested.soloMultiplier : 1
        var prefetchTokens = requested.prefetchTokens * factor
        var atOnce = 0
        if everything {
            let rest = whole - granted
            let isSharing = !isSolo && requested.weight > 0
            let share = isSharing ? Self.share(of: Int64(rest), requested.weight, others.weight) : rest
            atOnce = min(prefetchTokens, spare, rest <= prefetchTokens ? rest : share)
            granted += atOnce
            prefetchTokens -= atOnce
        }

        let free = max(0, limit.refillMicrotokensPerMillisecond - others.trickleRate)
        let fair =
            isSolo
            ? free
            : min(
                free,
                Int64(
                    Self.share(
                        of: limit.refillMicrotokensPerMillisecond, requested.weight, others.weight)))
        let window = requested.trickleMilliseconds * Int64(factor)
        let isShort = whole == granted
        let wanted = isShort ? min(prefetchTokens, spare - atOnce) : 0
        let trickle = Self.trickleGrant(wanted: wanted, rate: fair, windowMilliseconds: window)
        others.grantedTrickleRate = trickle.rate
        balanceMicrotokens -= Int64(granted + trickle.tokens) * Self.microtokensPerToken
        let left = balanceMicrotokens + others.trickleRemainingMicrotokens + trickle.rate * trickle.milliseconds
        return Grant(
            tokens: granted, held: held,
            openMicrotokens: min(left, Int64(room - granted - trickle.tokens) * Self.microtokensPerToken),
            trickleTokens: trickle.tokens, trickleMilliseconds: trickle.milliseconds,
            openRefillMicrotokensPerMillisecond: free - trickle.rate,
            outstanding: others.tokens + held + granted + trickle.tokens)
    }

    /// Pays the waiting requests in order, each in full or not at all.
    private static func pay(_ waiting: [WaitingRun], outOf tokens: Int) -> (paid: Int, everything: Bool) {
        var (left, everything) = (tokens, true)
        for run in waiting {
            let paying = min(run.count, left / max(1, run.cost))
            left -= paying * run.cost
            everything = everything && paying == run.count
        }
        return (tokens - left, everything)
    }

    /// The part of `amount` in proportion to a weight, rounded down; in doubles, as in the script.
    private static func share(of amount: Int64, _ weight: Int64, _ others: Int64) -> Int {
        guard weight > 0 else { return 0 }
        return Int((Double(amount) * (Double(weight) / Double(weight + others))).rounded(.down))
    }

    /// The trickle grant at `rate`; it ends when the wanted tokens have arrived, or after `window` at the latest.
    ///
    /// The rate is rounded down, so that no fraction of a token arrives beyond the tokens granted.
    private static func trickleGrant(
        wanted: Int, rate: Int64, windowMilliseconds window: Int64
    ) -> (tokens: Int, rate: Int64, milliseconds: Int64) {
        let tokens = min(wanted, Int(rate * window / microtokensPerToken))
        guard tokens > 0 else { return (0, 0, 0) }
        let milliseconds = (Int64(tokens) * microtokensPerToken + rate - 1) / rate
        return (tokens, Int64(tokens) * microtokensPerToken / milliseconds, milliseconds)
    }
}
