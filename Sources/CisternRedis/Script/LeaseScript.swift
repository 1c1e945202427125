internal import Cistern

/// The script that keeps a bucket in Redis: expiry of leases, refill, give-back and grant in one atomic step.
///
/// It reads and writes the tokens as a decimal string and the time of the last refill in milliseconds since 1970, as
/// plain Redis clients that keep such buckets do, and computes in whole microtokens, all below 2^53, where a double is
/// exact. Redis's own clock is the only one.
///
/// Refill stops at the capacity less what is leased, at every moment and not just at the end: a lease that ran out an
/// hour ago made room an hour ago. So the script walks through the moments at which leases ended, in their order, and
/// refills up to each before it lets that lease go.
enum LeaseScript {
    static let source = """
        local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
        local lessee, sequence, acknowledged = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
        local duration = tonumber(ARGV[6])
        local held, quiet, returned = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
        local early, early_for = tonumber(ARGV[10]), tonumber(ARGV[11])
        local ahead, weight = tonumber(ARGV[12]), tonumber(ARGV[13])
        local window, lone = tonumber(ARGV[14]), tonumber(ARGV[15])
        -- While a Redis Cluster moves a slot it is told the first key alone; the others follow from it.
        local tokens_key = KEYS[1]
        local refill_key = KEYS[2] or (string.gsub(tokens_key, 'tokens$', 'lastRefill'))
        local leases_key = KEYS[3] or (string.gsub(tokens_key, 'tokens$', 'leases'))
        local token = 1000000
        local wrap = 4503599627370496

        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

        -- Leases as they stand. One that has ended is due to go at its end; the lessee's own is lowered to what it says
        -- it holds, one part at the moment since which about half was spent, the rest at the last spend. What it was
        -- granted and has not acknowledged is taken back.
        local outstanding, own, credit, spilled, endings = 0, 0, 0, 0, {}
        local weights, paces, coming = 0, 0, 0
        local asked, spilled_then
        local gone = {}
        local records = redis.call('HGETALL', leases_key)
        for i = 1, #records, 2 do
          local fields = {}
          for field in string.gmatch(records[i + 1], '%d+') do fields[#fields + 1] = tonumber(field) end
          local last, tokens, ends, share, pace, paced, unseen, at, spill = unpack(fields)
          if records[i] == '' then
            spilled = last or 0
          elseif not spill then
            gone[#gone + 1] = records[i]
          else
            outstanding = outstanding + tokens
            if records[i] == lessee then
              if sequence <= last then return redis.error_reply('STALE a later request came first') end
              if ends <= now then
                endings[#endings + 1] = { held > 0 and ends or math.min(now - quiet, ends), tokens }
              else
                asked, spilled_then = at, spill
                if last <= acknowledged then unseen = 0 end
                own = math.min(tokens, held)
                credit = math.min(returned + unseen, tokens - own)
                local spent = tokens - own - credit
                early = math.min(early, spent)
                endings[#endings + 1] = { math.min(now - quiet, now - early_for), early, own = true }
                endings[#endings + 1] = { now - quiet, spent - early, own = true }
              end
            elseif ends <= now then
              endings[#endings + 1] = { ends, tokens }
              gone[#gone + 1] = records[i]
            else
              weights = weights + share
              if paced > now then
                paces, coming = paces + pace, coming + pace * (paced - now)
              end
            end
          end
        end

        local balance = redis.call('GET', tokens_key)
        local since = tonumber(redis.call('GET', refill_key) or now) or now
        if balance then
          balance = math.floor((tonumber(balance) or 0) * token + 0.5)
        else
          balance = capacity
        end
        -- A clock that was set back must not hold refill up until it is where it was.
        if not (since >= 0 and since <= now) then since = now end
        since = math.floor(since)
        -- Below 0 by what paces were promised of the inflow to come, and never by more than is on record.
        if not (balance >= -outstanding * token) then balance = -outstanding * token end
        balance = math.min(balance, math.max(0, capacity - outstanding * token))

        -- What spilled since the lessee's tokens were spent, for want of the room that they had left, is made good. How
        -- much spilled since its last request is known; it was less by at most what can have flowed in between.
        if asked then
          for _, ending in ipairs(endings) do
            if ending.own and ending[2] > 0 and ending[1] < since then
              local found = (spilled - spilled_then) % wrap
              if found >= wrap / 2 then found = 0 end
              found = math.min(ending[2] * token, math.max(0, found - math.max(0, ending[1] - asked) * rate))
              balance, spilled = balance + found, (spilled - found) % wrap
            end
          end
        end

        local function refill(moment)
          if moment <= since then return end
          local inflow = (moment - since) * rate
          local level = math.max(balance, math.min(balance + inflow, capacity - outstanding * token))
          spilled = (spilled + math.min(capacity, inflow - (level - balance))) % wrap
          balance, since = level, moment
        end
        table.sort(endings, function(a, b) return a[1] < b[1] end)
        for _, ending in ipairs(endings) do
          refill(ending[1])
          outstanding = outstanding - ending[2]
        end
        refill(now)
        outstanding = outstanding - credit
        balance = balance + credit * token

        -- What waits is paid in its order, each in full or not at all, out of what the lessee holds and what is open:
        -- the balance, and the part of running paces that has not come yet, which the balance has been charged with.
        local room = math.max(0, capacity / token - outstanding)
        local whole = math.min(room, math.floor(math.max(0, balance + coming) / token))
        local left, everything = own + whole, true
        for i = 16, #ARGV, 2 do
          local cost, count = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
          local paying = math.min(count, math.floor(left / cost))
          left = left - paying * cost
          everything = everything and paying == count
        end
        local granted = math.max(0, whole - left)

        -- Ahead of use: at once as far as the lessee's share of the balance goes, the rest as a pace out of its share of
        -- the inflow. Who is alone may have more.
        local alone = weights == 0
        local function share(amount)
          if alone then return amount end
          if weight == 0 then return 0 end
          return math.floor(amount * (weight / (weight + weights)))
        end
        if alone then ahead, window = ahead * lone, window * lone end
        -- At most half of the capacity is out ahead of use at any time: the rest stays within reach of everybody.
        local spare = math.max(0, math.floor(capacity / token / 2) - outstanding - granted)
        if everything then
          local rest = whole - granted
          local due = weight == 0 and rest or share(rest)
          if rest <= ahead then due = rest end
          due = math.min(ahead, spare, due)
          granted, ahead, spare = granted + due, ahead - due, spare - due
        end
        -- Only where nothing is left is the inflow promised: a pace tells the lessee to wait.
        local free = math.max(0, rate - paces)
        local fair = math.min(free, alone and free or share(rate))
        local wanted = granted == whole and math.min(ahead, spare) or 0
        local paced, pace, span = math.min(wanted, math.floor(fair * window / token)), 0, 0
        if paced > 0 then
          span = math.ceil(paced * token / fair)
          -- Rounded down, so that no part of a token seems to be coming that was not granted.
          pace = math.floor(paced * token / span)
        end
        balance = balance - (granted + paced) * token

        for _, lessee in ipairs(gone) do redis.call('HDEL', leases_key, lessee) end
        -- Longer than any lease lasts and the bucket then takes to fill: one that expires comes back full.
        local fill = math.ceil(capacity / rate)
        local life = math.max(60000, 2 * fill, duration + fill)
        local size = math.abs(balance)
        local fraction = string.gsub(string.format('%06d', size % token), '0+$', '')
        if fraction == '' then fraction = '0' end
        local text = (balance < 0 and '-' or '') .. string.format('%d', math.floor(size / token)) .. '.' .. fraction
        redis.call('SET', tokens_key, text, 'PX', life)
        redis.call('SET', refill_key, string.format('%d', now), 'PX', life)
        -- The record stays until its end even where nothing is held: it knows which requests have been acted on.
        local record = string.format('%d:%d:%d:%d:%d:%d:%d:%d:%d', sequence, own + granted + paced, now + duration,
          weight, pace, now + span, granted + paced, now, spilled)
        redis.call('HSET', leases_key, lessee, record, '', string.format('%d', spilled))
        redis.call('PEXPIRE', leases_key, life)
        local left = math.min(balance + coming + pace * span, (room - granted - paced) * token)
        return { granted, own, left, paced, span, free - pace, outstanding + granted + paced }
        """

    /// Number of keys, keys, and the arguments of a request, in the script's order.
    ///
    /// - Parameter keys: the organisation's three keys, or the first of them alone.
    static func arguments(of request: LeaseRequest, keys: [[UInt8]]) -> [[UInt8]] {
        [decimal(keys.count)] + keys + [
            decimal(request.limit.capacityMicrotokens), decimal(request.limit.refillMicrotokensPerMillisecond),
            Array(request.lessee.utf8), decimal(request.sequence), decimal(request.acknowledged),
            decimal(request.durationMilliseconds),
            decimal(request.held), decimal(request.quietMilliseconds), decimal(request.returned),
            decimal(request.earlySpent), decimal(request.earlyMilliseconds),
            decimal(request.wish.ahead), decimal(request.wish.weight), decimal(request.wish.paceMilliseconds),
            decimal(request.wish.loneFactor),
        ] + request.waiting.flatMap { [decimal($0.cost), decimal($0.count)] }
    }

    /// The grant in the script's answer; nil where the answer is not one of the script's.
    static func grant(from reply: RESPValue) -> Grant? {
        guard case .array(let fields) = reply, fields.count == 7 else { return nil }
        var numbers: [Int64] = []
        for case .integer(let number) in fields { numbers.append(number) }
        guard numbers.count == 7 else { return nil }
        return Grant(
            tokens: Int(numbers[0]), held: Int(numbers[1]), openMicrotokens: numbers[2], paced: Int(numbers[3]),
            paceMilliseconds: numbers[4], openRefillMicrotokensPerMillisecond: numbers[5], outstanding: Int(numbers[6]))
    }

    private static func decimal(_ number: some BinaryInteger) -> [UInt8] {
        Array(String(number).utf8)
    }
}
