/// One key's bucket as a shared store keeps it: the balance, and the tokens leased to each lessee.
///
/// This is the arithmetic of the store as a value without IO. The script in Redis is its twin: the same steps on the
/// same integers, so that both give the same responses to the same requests. The cost of a request does not depend on
/// the number of lessees: the store reads the requesting lessee's record, and totals of all records by their expiry.
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
        /// The sequence number of the last request that was applied.
        package var sequence: UInt64
        /// Outstanding tokens, as far as the store knows.
        ///
        /// A trickle grant counts in full from when it is granted.
        package var tokens: Int
        /// When the record expires: the end of an ``ExpirySlot``.
        package var endsMilliseconds: Int64
        /// The lessee's weight for its part of balance and refill, in thousandths of a token per second.
        package var weight: Int64
        /// The rate of the trickle grant, in units per millisecond.
        package var trickleRate: Int64
        /// When the trickle grant ends: the end of a ``TrickleSlot``.
        package var trickleEndsMilliseconds: Int64
        /// The tokens granted to the last request; taken back unless the next request acknowledges them.
        package var unacknowledged: Int
        /// When the last request was applied.
        package var lastRequestMilliseconds: Int64
        /// ``StoreBucket/overflowUnits`` at that time.
        package var overflowUnits: Int64
        /// ``StoreBucket/unitsVersion`` at that time.
        package var unitsVersion: Int64

        package init(
            sequence: UInt64, tokens: Int, endsMilliseconds: Int64, weight: Int64, trickleRate: Int64,
            trickleEndsMilliseconds: Int64, unacknowledged: Int, lastRequestMilliseconds: Int64, overflowUnits: Int64,
            unitsVersion: Int64
        ) {
            self.sequence = sequence
            self.tokens = tokens
            self.endsMilliseconds = endsMilliseconds
            self.weight = weight
            self.trickleRate = trickleRate
            self.trickleEndsMilliseconds = trickleEndsMilliseconds
            self.unacknowledged = unacknowledged
            self.lastRequestMilliseconds = lastRequestMilliseconds
            self.overflowUnits = overflowUnits
            self.unitsVersion = unitsVersion
        }
    }

    /// The units per token in which the bucket counts: those of the limit of the last request.
    package var unitsPerToken: Int64
    /// How often ``unitsPerToken`` has changed.
    package var unitsVersion: Int64 = 0
    /// No trickle grants are made before this time.
    package var trickleBlockEndMilliseconds: Int64 = 0
    /// T, in units; may be negative, because trickle grants debit future refill.
    package var balanceUnits: Int64
    /// When T was up to date, on the store's time.
    package var asOfMilliseconds: Int64
    /// How far after ``asOfMilliseconds`` another program has refilled the bucket.
    package var foreignRefillMilliseconds: Int64 = 0
    /// The store's time minus its clock.
    ///
    /// The store's time never goes back. After a step back of the clock it waits until the clock goes on.
    package var clockOffsetMilliseconds: Int64 = 0
    /// The refill that found no room, minus the part that was credited later; in units, modulo 2^52.
    package var overflowUnits: Int64 = 0
    /// Totals of the records that have not expired.
    package var expirySlots: [ExpirySlot] = []
    /// Totals of the trickle grants that have not ended.
    package var trickleSlots: [TrickleSlot] = []
    /// One record per lessee; those that ended before ``asOfMilliseconds`` hold no tokens.
    package var records: [String: Record] = [:]

    /// Creates a full bucket.
    ///
    /// - Parameters:
    ///   - limit: the limit of the key.
    ///   - nowMilliseconds: the time on the store's clock, which must be the same for all lessees.
    public init(full limit: Limit, nowMilliseconds: Int64) {
        unitsPerToken = limit.unitsPerToken
        balanceUnits = limit.capacityUnits
        asOfMilliseconds = nowMilliseconds
    }

    /// Outstanding tokens of all lessees.
    public var outstanding: Int { expirySlots.reduce(0) { $0 + $1.tokens } }

    /// T in tokens.
    package var balance: Double { Double(balanceUnits) / Double(unitsPerToken) }

    /// The store's time at a reading of its clock.
    package func time(atClock clock: Int64) -> Int64 { max(asOfMilliseconds, clock + clockOffsetMilliseconds) }

    /// How long the store keeps an unused bucket, in milliseconds.
    ///
    /// Longer than any lease plus the time to fill the bucket, since an expired bucket comes back full.
    public static func timeToLiveMilliseconds(of limit: Limit, leaseMilliseconds: Int64) -> Int64 {
        let fill = limit.millisecondsToGain(limit.capacityUnits)
        return max(60_000, 2 * fill, leaseMilliseconds + SlotGrid.leases.length(for: leaseMilliseconds) + fill)
    }

    /// Applies a request; nil, without a change, if a later request of the same lessee came first.
    public mutating func apply(_ request: LeaseRequest, nowMilliseconds clock: Int64) -> Grant? {
        let now = time(atClock: clock)
        let known = records[request.lesseeID]
        if let known, request.sequence <= known.sequence, known.endsMilliseconds > now { return nil }
        clockOffsetMilliseconds = now - clock
        let limit = request.limit
        changeUnits(to: limit)
        let onRecord = outstanding
        let own = known.flatMap { take($0) }
        let report = own.map { LeaseReport($0, in: request, now: now) } ?? LeaseReport()
        refill(around: report, own: own, outstanding: onRecord, limit: limit, now: now)
        let others = LesseeTotals(
            expirySlots: expirySlots, trickleSlots: trickleSlots, unitsPerToken: unitsPerToken, now: now)
        let terms = GrantTerms(
            request, held: report.held, balanceUnits: balanceUnits, others: others,
            canTrickle: now >= trickleBlockEndMilliseconds, now: now)
        balanceUnits -= limit.units(of: terms.tokens + terms.trickleTokens)
        add(
            Record(
                sequence: request.sequence, tokens: report.held + terms.tokens + terms.trickleTokens,
                endsMilliseconds: SlotGrid.leases.end(of: request.durationMilliseconds, from: now),
                weight: request.requested.weight, trickleRate: terms.trickleRate,
                trickleEndsMilliseconds: terms.trickleEndsMilliseconds,
                unacknowledged: terms.tokens + terms.trickleTokens, lastRequestMilliseconds: now,
                overflowUnits: overflowUnits, unitsVersion: unitsVersion),
            of: request.lesseeID)
        let trickleMilliseconds = terms.trickleEndsMilliseconds - now
        let left = balanceUnits + others.trickleRemainingUnits + terms.trickleRate * trickleMilliseconds
        return Grant(
            tokens: terms.tokens, held: report.held,
            openUnits: min(left, limit.units(of: terms.room - terms.tokens - terms.trickleTokens)),
            trickleTokens: terms.trickleTokens, trickleMilliseconds: trickleMilliseconds,
            openRefillUnitsPerMillisecond: terms.freeRate - terms.trickleRate,
            outstanding: others.tokens + report.held + terms.tokens + terms.trickleTokens, lessees: others.count + 1)
    }

    /// Refills the bucket and releases expired leases as the next request would, without a report or a grant.
    package mutating func catchUp(_ limit: Limit, nowMilliseconds clock: Int64) {
        let now = time(atClock: clock)
        clockOffsetMilliseconds = now - clock
        changeUnits(to: limit)
        refill(around: LeaseReport(), own: nil, outstanding: outstanding, limit: limit, now: now)
    }

    /// Fills the bucket up to the capacity less the outstanding tokens.
    ///
    /// Spent tokens that are still on record count as outstanding, since the store does not know of the spending. So a
    /// server that fills a bucket reports its own spending first.
    package mutating func fill(_ limit: Limit, nowMilliseconds clock: Int64) {
        catchUp(limit, nowMilliseconds: clock)
        balanceUnits = limit.units(of: max(0, limit.capacity - outstanding))
    }

    /// Counts in the units of another limit, and rounds the balance down.
    ///
    /// The rates of the running trickle grants are in the old units, so that new ones wait until the last of them ends.
    private mutating func changeUnits(to limit: Limit) {
        guard limit.unitsPerToken != unitsPerToken else { return }
        let (old, new) = (unitsPerToken, limit.unitsPerToken)
        let whole = Int64((Double(balanceUnits) / Double(old)).rounded(.down))
        // In doubles, as in the script.
        let rest = Double(balanceUnits - whole * old) / Double(old) * Double(new)
        balanceUnits = whole * new + max(0, Int64(rest.rounded(.down)) - 1)
        unitsPerToken = new
        unitsVersion += 1
        trickleBlockEndMilliseconds = trickleSlots.reduce(trickleBlockEndMilliseconds) { max($0, $1.endsMilliseconds) }
        trickleSlots = []
    }

    // MARK: Records

    /// Takes a lessee's record out of the totals; nil if it had left them before.
    private mutating func take(_ record: Record) -> Record? {
        guard record.endsMilliseconds > asOfMilliseconds,
            let index = expirySlots.firstIndex(where: { $0.endsMilliseconds == record.endsMilliseconds })
        else { return nil }
        expirySlots[index].tokens -= record.tokens
        expirySlots[index].weight -= record.weight
        expirySlots[index].lessees -= 1
        if expirySlots[index].lessees == 0 { expirySlots.remove(at: index) }
        if record.unitsVersion == unitsVersion,
            let index = trickleSlots.firstIndex(where: { $0.endsMilliseconds == record.trickleEndsMilliseconds })
        {
            trickleSlots[index].rate -= record.trickleRate
            if trickleSlots[index].rate == 0 { trickleSlots.remove(at: index) }
        }
        return record
    }

    /// Adds a record to the totals.
    private mutating func add(_ record: Record, of lesseeID: String) {
        if let index = expirySlots.firstIndex(where: { $0.endsMilliseconds == record.endsMilliseconds }) {
            expirySlots[index].tokens += record.tokens
            expirySlots[index].weight += record.weight
            expirySlots[index].lessees += 1
        } else {
            expirySlots.append(
                ExpirySlot(
                    endsMilliseconds: record.endsMilliseconds, tokens: record.tokens, weight: record.weight, lessees: 1)
            )
        }
        if record.trickleRate > 0 {
            let ends = record.trickleEndsMilliseconds
            if let index = trickleSlots.firstIndex(where: { $0.endsMilliseconds == ends }) {
                trickleSlots[index].rate += record.trickleRate
            } else {
                trickleSlots.append(TrickleSlot(endsMilliseconds: ends, rate: record.trickleRate))
            }
        }
        records[lesseeID] = record
    }

    // MARK: Refill

    /// Brings the balance up to date, and drops what has expired from the totals.
    ///
    /// Refill stops at C − O at every moment, so it is computed in steps, up to each spending, loss and expiry.
    /// If tokens were spent before the last refill, the overflow since they were spent is credited.
    ///
    /// - Parameter outstanding: the tokens on record, those of `own` included.
    private mutating func refill(around report: LeaseReport, own: Record?, outstanding: Int, limit: Limit, now: Int64) {
        var endings = report.spent
        for slot in expirySlots where slot.endsMilliseconds <= now {
            endings.append((slot.tokens, slot.endsMilliseconds))
        }
        expirySlots.removeAll { $0.endsMilliseconds <= now }
        trickleSlots.removeAll { $0.endsMilliseconds <= now }
        dropDeadRecords(now: now)
        asOfMilliseconds = min(now, asOfMilliseconds + foreignRefillMilliseconds)
        foreignRefillMilliseconds = 0
        var room = limit.capacity - outstanding
        // Trickle grants may make the balance negative, but never by more than the tokens on record.
        balanceUnits = max(balanceUnits, -limit.units(of: min(limit.capacity, outstanding)))
        balanceUnits = min(balanceUnits, limit.units(of: max(0, room)))
        if let own, own.endsMilliseconds > now, own.unitsVersion == unitsVersion {
            for part in report.spent { creditOverflow(part.tokens, spentAt: part.moment, own: own, limit: limit) }
        }
        for ending in endings.sorted(by: { $0.moment < $1.moment }) {
            refillUntil(limit, room: room, until: ending.moment)
            room += ending.tokens
        }
        refillUntil(limit, room: room, until: now)
        // Under a lowered limit there may be no room for all returned tokens.
        let ceiling = max(balanceUnits, limit.units(of: max(0, room + report.credit)))
        balanceUnits = min(balanceUnits + limit.units(of: report.credit), ceiling)
    }

    /// Forgets expired records once they outnumber the others.
    private mutating func dropDeadRecords(now: Int64) {
        guard records.count > 8, records.count > 2 * expirySlots.reduce(0, { $0 + $1.lessees }) else { return }
        records = records.filter { $0.value.endsMilliseconds > now }
    }

    private mutating func refillUntil(_ limit: Limit, room: Int, until now: Int64) {
        let elapsed = now - asOfMilliseconds
        guard elapsed > 0 else { return }
        var bucket = TokenBucket(units: balanceUnits, asOfMilliseconds: asOfMilliseconds)
        bucket.refill(limit, ceilingUnits: limit.units(of: max(0, room)), nowMilliseconds: now)
        let (inflow, overflows) = elapsed.multipliedReportingOverflow(by: limit.refillUnitsPerMillisecond)
        let refused = overflows ? Int64.max : inflow - (bucket.units - balanceUnits)
        overflowUnits = Self.moduloOverflow(overflowUnits + min(refused, limit.capacityUnits))
        balanceUnits = bucket.units
        asOfMilliseconds = now
    }

    /// Credits the overflow since some tokens were spent, up to the number of tokens spent.
    ///
    /// The overflow since the lessee's last request is known. The overflow since the tokens were spent is less, by at
    /// most the refill between these two moments.
    private mutating func creditOverflow(_ tokens: Int, spentAt moment: Int64, own: Record, limit: Limit) {
        guard tokens > 0, moment < asOfMilliseconds else { return }
        var since = Self.moduloOverflow(overflowUnits - own.overflowUnits)
        if since >= Self.overflowModulus / 2 { since = 0 }
        let before = max(0, moment - own.lastRequestMilliseconds)
        let (most, overflows) = before.multipliedReportingOverflow(by: limit.refillUnitsPerMillisecond)
        let found = overflows ? 0 : min(limit.units(of: tokens), max(0, since - most))
        balanceUnits += found
        overflowUnits = Self.moduloOverflow(overflowUnits - found)
    }

    /// The modulus of ``overflowUnits``: above any sum of two capacities, and exact in a double.
    static let overflowModulus: Int64 = 1 << 52

    /// An amount modulo 2^52, as ``overflowUnits`` is stored.
    package static func moduloOverflow(_ amount: Int64) -> Int64 {
        amount & (overflowModulus - 1)
    }
}
