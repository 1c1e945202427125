internal import Cistern

/// The lease script: expires leases, refills the bucket, takes returned tokens and grants new ones, in one atomic step.
///
/// The balance is stored as a decimal string, and the time of the last refill in milliseconds since 1970. Other
/// programs that keep token buckets may read and write both. The script computes in whole microtokens below 2^53,
/// which doubles represent exactly, and uses only the clock of Redis. Conversion between text and numbers took much of
/// a call's time. A request's numbers therefore arrive as doubles packed into one argument, and no number is formatted
/// twice.
///
/// At every moment, refill stops at the capacity minus the outstanding tokens: a lease that expired an hour ago has
/// left room since then. The script therefore visits the moments at which leases ended, in order. It refills up to each
/// moment and then releases that lease.
enum LeaseScript {
    /// A Lua function that tells whether a server can have written a lease record; used by scripts that read records.
    ///
    /// A lease lasts at most as long as `leaseDuration` may be, or the requested duration if that is longer. A trickle
    /// grant delivers at most the tokens of its record.
    static let plausibleRecordFunction = """
        local function plausible(tokens, ends, trickle_rate, trickle_ends, at, duration)
          return tokens <= \(Limit.maximumCapacity) and at < 4503599627370496 and ends > at
            and ends - at <= math.max(\(LeaseSettings.Field.leaseDuration.range.upperBound), duration)
            and trickle_rate * (trickle_ends - at) <= tokens * \(Limit.microtokensPerToken)
        end

        """

    static let source =
        plausibleRecordFunction + """
            local call, floor, min, max = redis.call, math.floor, math.min, math.max
            local match, format, unpack = string.match, string.format, struct.unpack
            local lessee, numbers = ARGV[1], ARGV[2]
            local capacity, rate, sequence, acknowledged, duration, held, since_spend, returned, half_spent,
              half_spent_for, prefetch, weight, window, solo_multiplier, next_number =
                unpack('<dddddddddddddd', numbers)
            -- Trial at login: writes nothing, but fails wherever a real request would fail.
            if capacity == 0 then return call('SET', KEYS[1], '1', 'XX') and 1 or 0 end
            -- While a Redis Cluster migrates a slot, only the first Redis key may be passed. The others derive from it.
            local tokens_key = KEYS[1]
            local refill_key = KEYS[2] or (string.gsub(tokens_key, 'tokens$', 'lastRefill'))
            local leases_key = KEYS[3] or (string.gsub(tokens_key, 'tokens$', 'leases'))
            local token = 1000000
            local wrap = 4503599627370496

            local time = call('TIME')
            local now = time[1] * 1000 + floor(time[2] / 1000)

            -- Collect when leased tokens stopped being outstanding: when their lease expired, or when this lessee
            -- spent them. It reports two spending times: of about half of the tokens, and of the last one.
            -- Unacknowledged grants are credited.
            local outstanding, own, credit, overflow, endings = 0, 0, 0, 0, {}
            local weights, trickle_rates, trickle_remaining = 0, 0, 0
            local asked, overflow_then
            local gone, moved, runs, latest, repaired, copy = {}, {}, {}, now, 0, nil
            local record_pattern = '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$'
            local records = call('HGETALL', leases_key)
            for i = 1, #records, 2 do
              local name, record = records[i], records[i + 1]
              local last, tokens, ends, share, trickle_rate, trickle_ends, unacknowledged, at, overflow_at =
                match(record, record_pattern)
              if overflow_at then
                tokens, ends, at = tonumber(tokens), tonumber(ends), tonumber(at)
                trickle_rate, trickle_ends = tonumber(trickle_rate), tonumber(trickle_ends)
              end
              if name == '' then
                overflow, copy = match(record, '^(%d+):?(.*)$')
                if copy == '' then copy = nil end
                overflow = (tonumber(overflow) or 0) % wrap
              elseif not overflow_at or not plausible(tokens, ends, trickle_rate, trickle_ends, at, duration)
                or #last > 16 or #share > 13 or #unacknowledged > 16 or #overflow_at > 16 then
                -- No server writes this record: remove it. The caller logs the repair.
                gone[#gone + 1], repaired = name, repaired + 1
              else
                -- A record from the future shows that the clock has stepped back: shift its times to start now.
                if at > now then
                  latest = max(latest, at)
                  ends, trickle_ends, at = now + ends - at, max(0, now + trickle_ends - at), now
                end
                outstanding = outstanding + tokens
                if name == lessee then
                  last = tonumber(last)
                  if sequence <= last and ends > now then
                    return redis.error_reply('STALE a later request came first')
                  end
                  if ends <= now then
                    endings[#endings + 1] = { held > 0 and ends or min(now - since_spend, ends), tokens }
                  else
                    asked, overflow_then = at, overflow_at
                    unacknowledged = last > acknowledged and tonumber(unacknowledged) or 0
                    own = min(tokens, held)
                    credit = min(returned + unacknowledged, tokens - own)
                    local spent = tokens - own - credit
                    half_spent = min(half_spent, spent)
                    if half_spent > 0 then
                      endings[#endings + 1] = { min(now - since_spend, now - half_spent_for), half_spent, true }
                    end
                    if spent > half_spent then
                      endings[#endings + 1] = { now - since_spend, spent - half_spent, true }
                    end
                  end
                elseif ends <= now then
                  endings[#endings + 1] = { ends, tokens }
                  gone[#gone + 1] = name
                else
                  weights = weights + tonumber(share)
                  if trickle_ends > now then
                    trickle_rates = trickle_rates + trickle_rate
                    trickle_remaining = trickle_remaining + trickle_rate * (trickle_ends - now)
                    runs[#runs + 1] = { trickle_rate, trickle_ends - now }
                  end
                end
              end
            end

            -- If only the balance was deleted or evicted, use its copy in the leases hash.
            local balance, since = call('GET', tokens_key) or copy, call('GET', refill_key)
            if balance and not tonumber(balance) or since and not tonumber(since) then repaired = repaired + 1 end
            since = tonumber(since or now) or now
            if balance then
              balance = floor((tonumber(balance) or 0) * token + 0.5)
            else
              balance = capacity
            end
            -- After a clock step back, refill from now on instead of waiting until the clock catches up.
            if not (since >= 0 and since <= now) then since = now end
            since = floor(since)
            -- After a clock step back, the delivered part of a running trickle grant is unknown, so charge all of it.
            -- Earlier overflow earns no credit, because times before the step cannot be compared.
            if latest > now then
              for _, run in ipairs(runs) do balance = balance - run[1] * run[2] end
              overflow_then = overflow
              local dropped = { [lessee] = true, [''] = true }
              for _, name in ipairs(gone) do dropped[name] = true end
              for i = 1, #records, 2 do
                if not dropped[records[i]] then
                  local last, tokens, ends, share, trickle_rate, trickle_ends, unacknowledged, at =
                    match(records[i + 1], record_pattern)
                  local back = max(0, at - now)
                  moved[#moved + 1] = records[i]
                  moved[#moved + 1] = format('%s:%s:%d:%s:%s:%d:%s:%d:%d', last, tokens, ends - back, share,
                    trickle_rate, max(0, trickle_ends - back), unacknowledged, at - back, overflow)
                end
              end
            end
            -- Trickle grants are charged before their refill arrives, so the balance may be negative: at most by the
            -- outstanding tokens.
            if not (balance >= -outstanding * token) then balance = -outstanding * token end
            balance = min(balance, max(0, capacity - outstanding * token))

            -- Credit refill that found no room only because spent tokens were still on record. From the overflow since
            -- the lessee's last request, subtract the maximum refill before the spend; credit the rest.
            if asked then
              for _, ending in ipairs(endings) do
                if ending[3] and ending[1] < since then
                  local found = (overflow - overflow_then) % wrap
                  if found >= wrap / 2 then found = 0 end
                  found = min(ending[2] * token, max(0, found - max(0, ending[1] - asked) * rate))
                  balance, overflow = balance + found, (overflow - found) % wrap
                end
              end
            end

            local function refill(moment)
              if moment <= since then return end
              local inflow = (moment - since) * rate
              local level = max(balance, min(balance + inflow, capacity - outstanding * token))
              overflow = (overflow + min(capacity, inflow - (level - balance))) % wrap
              balance, since = level, moment
            end
            if #endings > 1 then table.sort(endings, function(a, b) return a[1] < b[1] end) end
            for _, ending in ipairs(endings) do
              refill(ending[1])
              outstanding = outstanding - ending[2]
            end
            refill(now)
            outstanding = outstanding - credit
            balance = balance + credit * token

            -- Pay the waiting requests in order, each in full or not at all, from the lessee's tokens and the balance.
            -- Trickle tokens that have not arrived yet (`trickle_remaining`) are already charged to the balance, so add
            -- them back.
            local room = max(0, capacity / token - outstanding)
            local whole = min(room, floor(max(0, balance + trickle_remaining) / token))
            local left, everything = own + whole, true
            while next_number <= #numbers do
              local cost, count
              cost, count, next_number = unpack('<dd', numbers, next_number)
              local paying = min(count, floor(left / cost))
              left = left - paying * cost
              everything = everything and paying == count
            end
            local granted = max(0, whole - left)

            -- Grant prefetch tokens: up to the lessee's share of the balance at once, the rest as a trickle grant from
            -- its share of the refill. For a sole lessee, multiply prefetch and window by the solo multiplier.
            local alone = weights == 0
            local function share(amount)
              if alone then return amount end
              if weight == 0 then return 0 end
              return floor(amount * (weight / (weight + weights)))
            end
            if alone then prefetch, window = prefetch * solo_multiplier, window * solo_multiplier end
            -- Prefetch stops once half of the capacity is outstanding: the rest stays available to every server.
            local prefetch_room = max(0, floor(capacity / token / 2) - outstanding - granted)
            if everything then
              local rest = whole - granted
              local due = weight == 0 and rest or share(rest)
              if rest <= prefetch then due = rest end
              due = min(prefetch, prefetch_room, due)
              granted, prefetch, prefetch_room = granted + due, prefetch - due, prefetch_room - due
            end
            -- Promise future refill only if the balance is used up, because a trickle grant makes the lessee wait.
            local free = max(0, rate - trickle_rates)
            local fair = min(free, alone and free or share(rate))
            local trickle_tokens, trickle_rate, span = 0, 0, 0
            if granted == whole then trickle_tokens = min(prefetch, prefetch_room, floor(fair * window / token)) end
            if trickle_tokens > 0 then
              span = math.ceil(trickle_tokens * token / fair)
              -- Rounded down, so that the rate never delivers more than the granted tokens.
              trickle_rate = floor(trickle_tokens * token / span)
            end
            balance = balance - (granted + trickle_tokens) * token

            for _, lessee in ipairs(gone) do call('HDEL', leases_key, lessee) end
            for i = 1, #moved, 2 do call('HSET', leases_key, moved[i], moved[i + 1]) end
            -- The Redis keys outlive every lease by one complete refill, because an expired bucket comes back full.
            local fill = math.ceil(capacity / rate)
            local life = max(60000, 2 * fill, duration + fill)
            -- Format each repeated number once: Redis 7.0 is slow at formatting numbers that are passed as arguments.
            local life_text = life == 60000 and '60000' or format('%d', life)
            local now_text, overflow_text = format('%d', now), format('%d', overflow)
            local size = balance < 0 and -balance or balance
            local fraction, text = size % token
            if fraction > 0 then
              fraction = string.gsub(format('%06d', fraction), '0+$', '')
              text = format('%s%d.%s', balance < 0 and '-' or '', floor(size / token), fraction)
            else
              text = format('%d.0', balance / token)
            end
            call('SET', tokens_key, text, 'PX', life_text)
            call('SET', refill_key, now_text, 'PX', life_text)
            -- Keep the record until it expires, even if it holds no tokens: its sequence number detects late requests.
            local record = format('%d:%d:%d:%d:%d:%d:%d:%s:%s', sequence, own + granted + trickle_tokens,
              now + duration, weight, trickle_rate, now + span, granted + trickle_tokens, now_text, overflow_text)
            call('HSET', leases_key, lessee, record, '', overflow_text .. ':' .. text)
            call('PEXPIRE', leases_key, life_text)
            local open = balance + trickle_remaining + trickle_rate * span
            open = min(open, (room - granted - trickle_tokens) * token)
            return { granted, own, open, trickle_tokens, span, free - trickle_rate,
              outstanding + granted + trickle_tokens, repaired, latest - now }
            """

    /// How a command refers to the script.
    enum Call {
        /// By the digest that `SCRIPT LOAD` returned (`EVALSHA`).
        case digest([UInt8])
        /// By its text, which the node then caches (`EVAL`).
        case source
    }

    private static let (evalshaWord, evalWord) = (Array("EVALSHA".utf8), Array("EVAL".utf8))
    private static let sourceBytes = Array(source.utf8)

    /// Appends the command for a request.
    ///
    /// - Parameters:
    ///   - names: how the bucket's Redis keys are named.
    ///   - keyCount: how many of them are passed: 3 for all, 1 for only the first.
    static func write(
        _ request: LeaseRequest, as call: Call, names: KeyNames, keyCount: Int, to commands: inout RESPCommandBuffer
    ) {
        let (name, script): ([UInt8], [UInt8]) =
            switch call {
            case .digest(let digest): (evalshaWord, digest)
            case .source: (evalWord, sourceBytes)
            }
        let numbers = numberCount(of: request)
        let texts = name.count + script.count + request.lesseeID.utf8.count
        let payload =
            texts + 3 * request.key.count + names.nameOverheadBytes + RESPCommandBuffer.numberBytes
            + numbers * RESPCommandBuffer.doubleBytes
        commands.append(words: 5 + keyCount, payload: payload) { output in
            output.appendArgument(name)
            output.appendArgument(script)
            output.appendArgument(Int64(keyCount))
            names.append(count: keyCount, of: request.key, to: &output)
            output.appendArgument(request.lesseeID)
            output.appendArgument(doubles: numbers) { output in appendNumbers(of: request, to: &output) }
        }
    }

    /// A command that runs the script as a trial: it changes nothing, but fails wherever a lease request would fail.
    static func trial(digest: [UInt8], key: [UInt8]) -> [[UInt8]] {
        let numbers = [UInt8](repeating: 0, count: fixedNumberCount * RESPCommandBuffer.doubleBytes)
        return [evalshaWord, digest, Array("1".utf8), key, Array("trial".utf8), numbers]
    }

    /// Numbers in a request, not counting those of the waiting requests.
    private static let fixedNumberCount = 14

    private static func numberCount(of request: LeaseRequest) -> Int { fixedNumberCount + 2 * request.waiting.count }

    /// Appends the numbers in the order in which the script unpacks them.
    @inline(__always)
    private static func appendNumbers(of request: LeaseRequest, to output: inout OutputSpan<UInt8>) {
        output.appendDouble(request.limit.capacityMicrotokens)
        output.appendDouble(request.limit.refillMicrotokensPerMillisecond)
        output.appendDouble(Int64(request.sequence))
        output.appendDouble(Int64(request.acknowledged))
        output.appendDouble(request.durationMilliseconds)
        output.appendDouble(Int64(request.held))
        output.appendDouble(request.millisecondsSinceLastSpend)
        output.appendDouble(Int64(request.returned))
        output.appendDouble(Int64(request.halfSpentTokens))
        output.appendDouble(request.halfSpentMilliseconds)
        output.appendDouble(Int64(request.requested.prefetchTokens))
        output.appendDouble(request.requested.weight)
        output.appendDouble(request.requested.trickleMilliseconds)
        output.appendDouble(Int64(request.requested.soloMultiplier))
        for costs in request.waiting {
            output.appendDouble(Int64(costs.cost))
            output.appendDouble(Int64(costs.count))
        }
    }

    /// The script with a request's numbers embedded, for clients limited to text; `ARGV[1]` is the lessee ID.
    static func source(embedding request: LeaseRequest) -> String {
        var bytes: [UInt8] = []
        bytes.append(addingCapacity: numberCount(of: request) * RESPCommandBuffer.doubleBytes) { output in
            appendNumbers(of: request, to: &output)
        }
        let escapes = bytes.map { "\\" + String(1000 + Int($0)).dropFirst() }.joined()
        return "local ARGV = { ARGV[1], '\(escapes)' }\n" + source
    }

    /// The script's reply.
    struct Answer {
        let grant: Grant
        /// The number of values in the bucket's Redis keys that were replaced or removed, as no server can have written
        /// them.
        let repairedValues: Int64
        /// How far the store's clock has stepped back, in milliseconds, as far as the records show.
        let stepBackMilliseconds: Int64
    }

    /// Parses the reply to a request; nil if the script cannot have sent it.
    ///
    /// Every number is checked against its range or clamped to it, so that arithmetic on a grant cannot overflow.
    static func answer(in reply: RESPReply, to request: LeaseRequest) -> Answer? {
        guard case .numbers(let numbers) = reply else { return nil }
        let tokens = 0...Int64(request.limit.capacity)
        let exact = 0...largestExactInteger
        guard tokens ~= numbers[0], 0...Int64(request.held) ~= numbers[1],
            tokens ~= numbers[3],
            0...maximumTrickleMilliseconds ~= numbers[4], exact ~= numbers[5], exact ~= numbers[6],
            exact ~= numbers[7], exact ~= numbers[8]
        else { return nil }
        // Garbage in the records can make the open balance and the outstanding tokens arbitrarily large. They only
        // indicate what is left in the bucket, so clamp them.
        let most = Int64(Limit.maximumCapacity)
        let microtokens = most * Limit.microtokensPerToken
        let grant = Grant(
            tokens: Int(numbers[0]), held: Int(numbers[1]),
            openMicrotokens: min(max(numbers[2], -microtokens), microtokens), trickleTokens: Int(numbers[3]),
            trickleMilliseconds: numbers[4], openRefillMicrotokensPerMillisecond: numbers[5],
            outstanding: Int(min(numbers[6], most)))
        return Answer(grant: grant, repairedValues: numbers[7], stepBackMilliseconds: numbers[8])
    }

    /// The script computes in doubles, which represent integers exactly up to this one.
    private static let largestExactInteger: Int64 = 1 << 53
    /// One day, which is longer than any trickle grant.
    private static let maximumTrickleMilliseconds: Int64 = 86_400_000
}
