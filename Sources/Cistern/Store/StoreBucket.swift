/// One organization's bucket as a shared store keeps it: the balance, and what is leased to whom.
///
/// This is the arithmetic of the store's side as a value without IO. The script in Redis is its twin: the same steps
/// in the same order on the same integers, so that both give the same answer to the same requests.
///
/// Write C for the capacity, R for the refill rate, T for the balance and O for the sum of what is on record. Four
/// rules hold after every step; together they keep what all lessees admit within C + R·t (see Architecture.md):
/// T + O ≤ C; O ≤ C; the paces that are running add up to R at most; and only what is open is granted at once, T plus
/// the part of the paces that has not come yet.
package struct StoreBucket: Sendable, Equatable {
    /// What one lessee has.
    package struct Record: Sendable, Equatable {
        package var lesseeID: String
        /// The last request that was acted on.
        package var sequence: UInt64
        /// Tokens leased and, as far as the store knows, not spent; the paced ones from when they are granted.
        package var tokens: Int
        /// When the record lapses.
        package var endsMilliseconds: Int64
        /// The lessee's weight in sharing, in thousandths of a token a second.
        package var weight: Int64
        /// How fast its pace runs, in microtokens a millisecond.
        package var trickleRate: Int64
        /// Until when.
        package var trickleEndsMilliseconds: Int64
        /// What the last request was granted; taken back unless the next acknowledges it.
        package var unseen: Int
        /// When the last request was acted on.
        package var askedAtMilliseconds: Int64
        /// ``StoreBucket/overflow`` at that time.
        package var overflow: Int64

        package init(
            lesseeID: String, sequence: UInt64, tokens: Int, endsMilliseconds: Int64, weight: Int64, trickleRate: Int64,
            trickleEndsMilliseconds: Int64, unseen: Int, askedAtMilliseconds: Int64, overflow: Int64
        ) {
            self.lesseeID = lesseeID
            self.sequence = sequence
            self.tokens = tokens
            self.endsMilliseconds = endsMilliseconds
            self.weight = weight
            self.trickleRate = trickleRate
            self.trickleEndsMilliseconds = trickleEndsMilliseconds
            self.unseen = unseen
            self.askedAtMilliseconds = askedAtMilliseconds
            self.overflow = overflow
        }

        /// Whether a server can have written it; anything else is somebody's mistake and holds no tokens.
        package var isPlausible: Bool {
            guard 0...Limit.maximumCapacity ~= tokens, 0..<StoreBucket.wrap ~= askedAtMilliseconds,
                endsMilliseconds > askedAtMilliseconds,
                endsMilliseconds <= askedAtMilliseconds + LeaseSettings.longestMilliseconds
            else { return false }
            let (trickle, overflows) = trickleRate.multipliedReportingOverflow(
                by: trickleEndsMilliseconds - askedAtMilliseconds)
            return !overflows && trickle <= Int64(tokens) * Limit.microtokensPerToken
        }

        /// Lets a record that was written in the future begin now.
        fileprivate mutating func begin(noLaterThan now: Int64) {
            let ahead = askedAtMilliseconds - now
            guard ahead > 0 else { return }
            askedAtMilliseconds = now
            endsMilliseconds -= ahead
            trickleEndsMilliseconds = max(0, trickleEndsMilliseconds - ahead)
        }
    }

    /// T, in microtokens; below 0 by what paces have been promised of the inflow to come.
    package var balanceMicrotokens: Int64
    /// When T was right, on the store's clock.
    package var asOfMilliseconds: Int64
    /// In the order in which the lessees first came.
    package var records: [Record] = []
    /// Inflow that found no room, added up, less what was made good later; in microtokens, modulo 2^52.
    package var overflow: Int64 = 0

    /// A bucket that nobody has used yet.
    package init(full limit: Limit, nowMilliseconds: Int64) {
        balanceMicrotokens = limit.capacityMicrotokens
        asOfMilliseconds = nowMilliseconds
    }

    private static var token: Int64 { Limit.microtokensPerToken }

    /// Tokens on record, of all lessees.
    package var outstanding: Int { records.reduce(0) { $0 + $1.tokens } }

    /// How long the store keeps a bucket that nobody touches: longer than any lease lasts and the bucket then takes to
    /// fill, since one that expires comes back full.
    package static func lifeMilliseconds(of limit: Limit, leaseMilliseconds: Int64) -> Int64 {
        let fill = limit.millisecondsToGain(limit.capacityMicrotokens)
        return max(60_000, 2 * fill, leaseMilliseconds + fill)
    }

    /// Acts on a request; nil where a later one of the same lessee came first, which changes nothing.
    package mutating func apply(_ request: LeaseRequest, nowMilliseconds now: Int64) -> Grant? {
        let before = records.first { $0.lesseeID == request.lesseeID }
        if let before, request.sequence <= before.sequence, before.endsMilliseconds > now { return nil }
        noticeStepBack(of: request.lesseeID, now: now)
        let own = records.first { $0.lesseeID == request.lesseeID }
        let report = Self.report(own, in: request, now: now)
        refill(around: report, own: own, of: request.lesseeID, limit: request.limit, now: now)
        var others = Others(records, now: now)
        let answer = grant(request, held: report.held, others: &others)
        let outstanding = report.held + answer.tokens + answer.trickleTokens
        records.append(
            Record(
                lesseeID: request.lesseeID, sequence: request.sequence, tokens: outstanding,
                endsMilliseconds: now + request.durationMilliseconds, weight: request.requested.weight,
                trickleRate: answer.trickleTokens > 0 ? others.newTrickleRate : 0,
                trickleEndsMilliseconds: now + answer.trickleMilliseconds,
                unseen: answer.tokens + answer.trickleTokens, askedAtMilliseconds: now, overflow: overflow))
        return answer
    }

    /// Refills, and lets leases go that have ended, as the next request would; nothing is reported or granted.
    package mutating func catchUp(_ limit: Limit, nowMilliseconds now: Int64) {
        noticeStepBack(of: "", now: now)
        refill(around: Report(), own: nil, of: "", limit: limit, now: now)
    }

    /// Makes the bucket as full as it may be while tokens are leased of it.
    ///
    /// Tokens on record that have been spent already count as leased, since nobody here knows of it: whoever fills a
    /// bucket reports its own first.
    package mutating func fill(_ limit: Limit, nowMilliseconds now: Int64) {
        records.removeAll { $0.endsMilliseconds <= now }
        balanceMicrotokens = Int64(max(0, limit.capacity - outstanding)) * Self.token
        asOfMilliseconds = now
    }

    // MARK: Steps of the clock

    /// Moves records from the future to now: the store's clock has stepped back since they were written.
    ///
    /// What has come of running trickle grants is not known any more, so all of it is charged; and what spilled belongs
    /// to times that cannot be compared.
    private mutating func noticeStepBack(of lesseeID: String, now: Int64) {
        guard records.contains(where: { $0.askedAtMilliseconds > now }) else { return }
        for index in records.indices {
            records[index].begin(noLaterThan: now)
            records[index].overflow = overflow
            let (record, left) = (records[index], records[index].trickleEndsMilliseconds - now)
            guard record.lesseeID != lesseeID, record.endsMilliseconds > now, left > 0 else { continue }
            balanceMicrotokens -= record.trickleRate * left
        }
    }

    // MARK: What was leased

    /// What a request says of the lessee's own record.
    private struct Report {
        /// What it still holds of the record.
        var held = 0
        /// What it gives back.
        var credit = 0
        /// What it has spent, or lost, in two parts, and since when each has been so.
        var spent: [(tokens: Int, moment: Int64)] = []
    }

    /// Holds what the lessee says against what is on record: it can lower the record, never raise it.
    private static func report(_ own: Record?, in request: LeaseRequest, now: Int64) -> Report {
        guard let own else { return Report() }
        let quiet = now - request.unspentMilliseconds
        guard own.endsMilliseconds > now else {
            let moment = request.held > 0 ? own.endsMilliseconds : min(quiet, own.endsMilliseconds)
            return Report(spent: [(own.tokens, moment)])
        }
        let unseen = own.sequence > request.acknowledged ? own.unseen : 0
        let held = min(own.tokens, request.held)
        let credit = min(request.returned + unseen, own.tokens - held)
        let spent = own.tokens - held - credit
        let early = min(request.halfSpentTokens, spent)
        let parts = [(early, min(quiet, now - request.halfSpentMilliseconds)), (spent - early, quiet)]
        return Report(held: held, credit: credit, spent: parts.filter { $0.0 > 0 })
    }

    /// Brings the balance up to date, and takes the lessee's own record and those that have lapsed out.
    ///
    /// Refill stops at C − O at every moment and not just at the end: a lease that lapsed an hour ago made room an hour
    /// ago. So it goes up to each moment at which tokens ended, in their order, and lets them go there. Of the moments
    /// before the last step, which has refilled already, what spilled since is made good.
    private mutating func refill(around report: Report, own: Record?, of lesseeID: String, limit: Limit, now: Int64) {
        var endings = report.spent
        for record in records where record.lesseeID != lesseeID && record.endsMilliseconds <= now {
            endings.append((record.tokens, record.endsMilliseconds))
        }
        let onRecord = Int64(outstanding) * Self.token
        var ceiling = limit.capacityMicrotokens - onRecord
        records.removeAll { $0.lesseeID == lesseeID || $0.endsMilliseconds <= now }
        // Below 0 by what paces were promised of the inflow, never by more than is on record. A clock that was set back
        // must not hold refill up until it is where it was.
        balanceMicrotokens = min(max(balanceMicrotokens, -onRecord), max(0, ceiling))
        asOfMilliseconds = min(asOfMilliseconds, now)
        if let own, own.endsMilliseconds > now {
            for part in report.spent { creditOverflow(part.tokens, spentAt: part.moment, own: own, limit: limit) }
        }
        for ending in endings.sorted(by: { $0.moment < $1.moment }) {
            flowIn(limit, ceiling: ceiling, until: ending.moment)
            ceiling += Int64(ending.tokens) * Self.token
        }
        flowIn(limit, ceiling: ceiling, until: now)
        balanceMicrotokens += Int64(report.credit) * Self.token
    }

    private mutating func flowIn(_ limit: Limit, ceiling: Int64, until now: Int64) {
        let elapsed = now - asOfMilliseconds
        guard elapsed > 0 else { return }
        var bucket = TokenBucket(microtokens: balanceMicrotokens, asOfMilliseconds: asOfMilliseconds)
        bucket.refill(limit, ceilingMicrotokens: ceiling, nowMilliseconds: now)
        let (inflow, overflows) = elapsed.multipliedReportingOverflow(by: limit.refillMicrotokensPerMillisecond)
        let refused = overflows ? Int64.max : inflow - (bucket.microtokens - balanceMicrotokens)
        overflow = Self.wrapped(overflow + min(refused, limit.capacityMicrotokens))
        balanceMicrotokens = bucket.microtokens
        asOfMilliseconds = now
    }

    /// Lets in, after all, what found no room since some tokens were spent, as far as those had left room.
    ///
    /// How much spilled since the lessee's last request is known; since the tokens were spent, it was less by at most
    /// what can have flowed in between.
    private mutating func creditOverflow(_ tokens: Int, spentAt moment: Int64, own: Record, limit: Limit) {
        guard tokens > 0, moment < asOfMilliseconds else { return }
        var since = Self.wrapped(overflow - own.overflow)
        if since >= Self.wrap / 2 { since = 0 }
        let before = max(0, moment - own.askedAtMilliseconds)
        let (most, overflows) = before.multipliedReportingOverflow(by: limit.refillMicrotokensPerMillisecond)
        let found = overflows ? 0 : min(Int64(tokens) * Self.token, max(0, since - most))
        balanceMicrotokens += found
        overflow = Self.wrapped(overflow - found)
    }

    /// Beyond any sum of two capacities, and exact in a double.
    fileprivate static let wrap: Int64 = 1 << 52

    /// ``overflow`` of any number, below 2^52.
    package static func wrapped(_ amount: Int64) -> Int64 {
        amount & (wrap - 1)
    }

    // MARK: What is granted

    /// The other lessees, added up.
    private struct Others {
        var tokens = 0
        var weight: Int64 = 0
        /// How fast their paces run.
        var trickleRate: Int64 = 0
        /// The part of their paces that has not come yet.
        var trickleRemainingMicrotokens: Int64 = 0
        /// The pace that is granted besides.
        var newTrickleRate: Int64 = 0

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

    /// Pays what waits, then what is wished for ahead: at once as far as the lessee's share of the balance goes, and
    /// the rest as a pace.
    private mutating func grant(_ request: LeaseRequest, held: Int, others: inout Others) -> Grant {
        let (limit, requested) = (request.limit, request.requested)
        let room = max(0, limit.capacity - others.tokens - held)
        let open = balanceMicrotokens + others.trickleRemainingMicrotokens
        let whole = min(room, Int(max(0, open) / Self.token))
        let (paid, everything) = Self.pay(request.waiting, outOf: held + whole)
        var granted = max(0, paid - held)

        // Ahead of use at most half of the capacity is out at any time: the rest stays within reach of everybody.
        let spare = max(0, limit.capacity / 2 - others.tokens - held - granted)
        let isAlone = others.weight == 0
        let factor = isAlone ? requested.soloMultiplier : 1
        var ahead = requested.ahead * factor
        var atOnce = 0
        if everything {
            let rest = whole - granted
            let isSharing = !isAlone && requested.weight > 0
            let share = isSharing ? Self.share(of: Int64(rest), requested.weight, others.weight) : rest
            atOnce = min(ahead, spare, rest <= ahead ? rest : share)
            granted += atOnce
            ahead -= atOnce
        }

        let free = max(0, limit.refillMicrotokensPerMillisecond - others.trickleRate)
        let fair =
            isAlone
            ? free
            : min(
                free,
                Int64(
                    Self.share(
                        of: limit.refillMicrotokensPerMillisecond, requested.weight, others.weight)))
        let window = requested.trickleMilliseconds * Int64(factor)
        let isShort = whole == granted
        let wanted = isShort ? min(ahead, spare - atOnce) : 0
        let trickleRate = Self.trickleRate(wanted: wanted, rate: fair, windowMilliseconds: window)
        others.newTrickleRate = trickleRate.rate
        balanceMicrotokens -= Int64(granted + trickleRate.tokens) * Self.token
        let left = balanceMicrotokens + others.trickleRemainingMicrotokens + trickleRate.rate * trickleRate.milliseconds
        return Grant(
            tokens: granted, held: held,
            openMicrotokens: min(left, Int64(room - granted - trickleRate.tokens) * Self.token),
            trickleTokens: trickleRate.tokens, trickleMilliseconds: trickleRate.milliseconds,
            openRefillMicrotokensPerMillisecond: free - trickleRate.rate,
            outstanding: others.tokens + held + granted + trickleRate.tokens)
    }

    /// Pays the requests that wait in their order, each in full or not at all.
    private static func pay(_ waiting: [WaitingCost], outOf tokens: Int) -> (paid: Int, everything: Bool) {
        var (left, everything) = (tokens, true)
        for run in waiting {
            let paying = min(run.count, left / run.cost)
            left -= paying * run.cost
            everything = everything && paying == run.count
        }
        return (tokens - left, everything)
    }

    /// A part of `amount` in proportion to a weight, rounded down; in doubles, as the script computes.
    private static func share(of amount: Int64, _ weight: Int64, _ others: Int64) -> Int {
        guard weight > 0 else { return 0 }
        return Int((Double(amount) * (Double(weight) / Double(weight + others))).rounded(.down))
    }

    /// Tokens that come at `rate` until there are as many as are wanted, or the window is over.
    ///
    /// The rate is rounded down, so that no part of a token seems to be coming that was not granted.
    private static func trickleRate(
        wanted: Int, rate: Int64, windowMilliseconds window: Int64
    ) -> (tokens: Int, rate: Int64, milliseconds: Int64) {
        let tokens = min(wanted, Int(rate * window / token))
        guard tokens > 0 else { return (0, 0, 0) }
        let milliseconds = (Int64(tokens) * token + rate - 1) / rate
        return (tokens, Int64(tokens) * token / milliseconds, milliseconds)
    }
}
