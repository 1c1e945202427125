/// What the store has promised to the other lessees of a key when it grants tokens to one.
struct LesseeTotals {
    /// Their outstanding tokens.
    let tokens: Int
    /// The sum of their weights.
    let weight: Int64
    /// How many lessees there are.
    let count: Int
    /// The sum of the rates of their trickle grants, in units per millisecond.
    let trickleRate: Int64
    /// The part of their trickle grants that is still to come, in units.
    let trickleRemainingUnits: Int64

    init(expirySlots: [ExpirySlot], trickleSlots: [TrickleSlot], unitsPerToken: Int64, now: Int64) {
        tokens = expirySlots.reduce(0) { $0 + $1.tokens }
        weight = expirySlots.reduce(0) { $0 + $1.weight }
        count = expirySlots.reduce(0) { $0 + $1.lessees }
        trickleRate = trickleSlots.reduce(0) { $0 + $1.rate }
        // What is to come is on record.
        trickleRemainingUnits = min(
            trickleSlots.reduce(0) { $0 + $1.remainingUnits(at: now) }, Int64(tokens) * unitsPerToken)
    }
}

/// What the store grants to one request: a pure function of the request, the balance and the other lessees.
struct GrantTerms {
    /// Tokens that the lessee may spend at once.
    private(set) var tokens = 0
    /// Tokens that arrive out of the refill to come, until ``trickleEndsMilliseconds``.
    private(set) var trickleTokens = 0
    private(set) var trickleRate: Int64 = 0
    private(set) var trickleEndsMilliseconds: Int64
    /// The refill that is promised to nobody, in units per millisecond.
    let freeRate: Int64
    /// The tokens that the lessee could be granted at most.
    let room: Int

    /// Pays the waiting requests, then grants prefetch tokens.
    ///
    /// Prefetch tokens are granted at once up to the lessee's part of the balance; the rest is a trickle grant.
    init(
        _ request: LeaseRequest, held: Int, balanceUnits: Int64, others: LesseeTotals, canTrickle: Bool, now: Int64
    ) {
        let (limit, requested) = (request.limit, request.requested)
        room = max(0, limit.capacity - others.tokens - held)
        trickleEndsMilliseconds = now
        let open = balanceUnits + others.trickleRemainingUnits
        let whole = min(room, Int(max(0, open) / limit.unitsPerToken))
        let (paid, everything) = Self.pay(request.waiting, outOf: held + whole)
        tokens = max(0, paid - held)

        // Prefetching never raises the outstanding tokens above half of the capacity: the rest is there for all.
        var spare = max(0, limit.capacity / 2 - others.tokens - held - tokens)
        let isSolo = others.weight == 0
        let factor = isSolo ? requested.soloMultiplier : 1
        var prefetchTokens = requested.prefetchTokens * factor
        func share(of amount: Int64) -> Int64 {
            isSolo ? amount : Self.share(of: amount, requested.weight, others.weight)
        }
        var atOnce = 0
        if everything {
            let rest = whole - tokens
            let due = rest <= prefetchTokens || requested.weight == 0 ? rest : Int(share(of: Int64(rest)))
            atOnce = min(prefetchTokens, spare, due)
            tokens += atOnce
            prefetchTokens -= atOnce
            spare -= atOnce
        }

        let rate = limit.refillUnitsPerMillisecond
        let free = canTrickle ? max(0, rate - others.trickleRate) : 0
        freeRate = free
        // Promise future refill only if the balance covers less than half of what is wanted, because a trickle grant
        // makes the lessee wait. If it waited for an empty balance instead, many lessees would ask for crumbs.
        guard tokens == whole || everything && atOnce < prefetchTokens else { return }
        addTrickle(
            atMost: min(prefetchTokens, spare), rate: min(free, share(of: rate)),
            windowMilliseconds: requested.trickleMilliseconds * Int64(factor), limit: limit, isSolo: isSolo, now: now)
    }

    /// Grants refill to come at `rate` at most, from now to the end of a slot.
    ///
    /// A sole lessee gets the whole refill, to the millisecond.
    private mutating func addTrickle(
        atMost wanted: Int, rate: Int64, windowMilliseconds window: Int64, limit: Limit, isSolo: Bool, now: Int64
    ) {
        func end(of milliseconds: Int64) -> Int64 {
            isSolo ? now + milliseconds : SlotGrid.trickles.end(of: milliseconds, from: now)
        }
        guard rate > 0, window > 0 else { return }
        let (flow, overflows) = rate.multipliedReportingOverflow(by: end(of: window) - now)
        let most = overflows ? StoreBucket.overflowModulus : min(StoreBucket.overflowModulus, flow)
        trickleTokens = min(wanted, Int(most / limit.unitsPerToken))
        guard trickleTokens > 0 else { return }
        let units = limit.units(of: trickleTokens)
        trickleEndsMilliseconds = end(of: (units + rate - 1) / rate)
        // Rounded down, so that the rate never delivers more than the granted tokens.
        trickleRate = units / (trickleEndsMilliseconds - now)
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
    private static func share(of amount: Int64, _ weight: Int64, _ others: Int64) -> Int64 {
        guard weight > 0 else { return 0 }
        return Int64((Double(amount) * (Double(weight) / Double(weight + others))).rounded(.down))
    }
}
