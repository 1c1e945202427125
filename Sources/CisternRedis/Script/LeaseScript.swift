internal import Cistern

/// The script that keeps a bucket in Redis: expiry of leases, refill, give-back and grant in one atomic step.
///
/// It reads and writes the tokens as a decimal string and the time of the last refill in milliseconds since 1970, as
/// plain Redis clients that keep such buckets do, and computes in whole microtokens, all below 2^53, where a double is
/// exact. Redis's own clock is the only one. A request's numbers come as doubles, all in one word, and none is turned
/// into text twice: the way between text and number was much of what a call took.
///
/// Refill stops at the capacity less what is leased, at every moment and not just at the end: a lease that ran out an
/// hour ago made room an hour ago. So the script walks through the moments at which leases ended, in their order, and
/// refills up to each before it lets that lease go.
enum LeaseScript {
    /// A function of scripts that read records: whether a server can have written one.
    ///
    /// No lease lasts longer than the bound, or than the one that is asked for; a trickle grant brings its tokens at
    /// most.
    static let plausibility = """
        local function plausible(tokens, ends, pace, paced, at, duration)
          return tokens <= \(Limit.maximumCapacity) and at < 4503599627370496 and ends > at
            and ends - at <= math.max(\(LeaseSettings.longestMilliseconds), duration)
            and pace * (paced - at) <= tokens * \(Limit.microtokensPerToken)
        end

        """

    static let source =
        plausibility + """
            local call, floor, min, max = redis.call, math.floor, math.min, math.max
            local match, format, unpack = string.match, string.format, struct.unpack
            local lessee, numbers = ARGV[1], ARGV[2]
            local capacity, rate, sequence, acknowledged, duration, held, quiet, returned, early, early_for,
              ahead, weight, window, lone, next_number = unpack('<dddddddddddddd', numbers)
            -- A trial at login: it writes nothing, and fails where a request would.
            if capacity == 0 then return call('SET', KEYS[1], '1', 'XX') and 1 or 0 end
            -- While a Redis Cluster moves a slot it is told the first key alone; the others follow from it.
            local tokens_key = KEYS[1]
            local refill_key = KEYS[2] or (string.gsub(tokens_key, 'tokens$', 'lastRefill'))
            local leases_key = KEYS[3] or (string.gsub(tokens_key, 'tokens$', 'leases'))
            local token = 1000000
            local wrap = 4503599627370496

            local time = call('TIME')
            local now = time[1] * 1000 + floor(time[2] / 1000)

            -- Leases as they stand. One that has ended is due to go at its end; the lessee's own is lowered to what it says
            -- it holds, one part at the moment since which about half was spent, the rest at the last spend. What it was
            -- granted and has not acknowledged is taken back.
            local outstanding, own, credit, spilled, endings = 0, 0, 0, 0, {}
            local weights, paces, coming = 0, 0, 0
            local asked, spilled_then
            local gone, moved, runs, latest, repaired, copy = {}, {}, {}, now, 0, nil
            local record_pattern = '^(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+):(%d+)$'
            local records = call('HGETALL', leases_key)
            for i = 1, #records, 2 do
              local name, record = records[i], records[i + 1]
              local last, tokens, ends, share, pace, paced, unseen, at, spill = match(record, record_pattern)
              if spill then
                tokens, ends, pace, paced, at = tonumber(tokens), tonumber(ends), tonumber(pace), tonumber(paced), tonumber(at)
              end
              if name == '' then
                spilled, copy = match(record, '^(%d+):?(.*)$')
                if copy == '' then copy = nil end
                spilled = (tonumber(spilled) or 0) % wrap
              elseif not spill or not plausible(tokens, ends, pace, paced, at, duration)
                or #last > 16 or #share > 13 or #unseen > 16 or #spill > 16 then
                -- No server writes this: it is removed, and the caller logs it.
                gone[#gone + 1], repaired = name, repaired + 1
              else
                -- Written in the future: the clock has stepped back since. The record begins again now.
                if at > now then
                  latest = max(latest, at)
                  ends, paced, at = now + ends - at, max(0, now + paced - at), now
                end
                outstanding = outstanding + tokens
                if name == lessee then
                  last = tonumber(last)
                  if sequence <= last and ends > now then return redis.error_reply('STALE a later request came first') end
                  if ends <= now then
                    endings[#endings + 1] = { held > 0 and ends or min(now - quiet, ends), tokens }
                  else
                    asked, spilled_then = at, spill
                    unseen = last > acknowledged and tonumber(unseen) or 0
                    own = min(tokens, held)
                    credit = min(returned + unseen, tokens - own)
                    local spent = tokens - own - credit
                    early = min(early, spent)
                    if early > 0 then endings[#endings + 1] = { min(now - quiet, now - early_for), early, true } end
                    if spent > early then endings[#endings + 1] = { now - quiet, spent - early, true } end
                  end
                elseif ends <= now then
                  endings[#endings + 1] = { ends, tokens }
                  gone[#gone + 1] = name
                else
                  weights = weights + tonumber(share)
                  if paced > now then
                    paces, coming = paces + pace, coming + pace * (paced - now)
                    runs[#runs + 1] = { pace, paced - now }
                  end
                end
              end
            end

            -- A balance that somebody deleted or evicted alone is known from its copy beside the leases.
            local balance, since = call('GET', tokens_key) or copy, call('GET', refill_key)
            if balance and not tonumber(balance) or since and not tonumber(since) then repaired = repaired + 1 end
            since = tonumber(since or now) or now
            if balance then
              balance = floor((tonumber(balance) or 0) * token + 0.5)
            else
              balance = capacity
            end
            -- A clock that stepped back must not stop the refill until it is where it was.
            if not (since >= 0 and since <= now) then since = now end
            since = floor(since)
            -- After a step back it is not known what has come of running trickle grants: all of it is charged. What spilled
            -- before belongs to times that cannot be compared any more.
            if latest > now then
              for _, run in ipairs(runs) do balance = balance - run[1] * run[2] end
              spilled_then = spilled
              local dropped = { [lessee] = true, [''] = true }
              for _, name in ipairs(gone) do dropped[name] = true end
              for i = 1, #records, 2 do
                if not dropped[records[i]] then
                  local last, tokens, ends, share, pace, paced, unseen, at = match(records[i + 1], record_pattern)
                  local back = max(0, at - now)
                  moved[#moved + 1] = records[i]
                  moved[#moved + 1] = format('%s:%s:%d:%s:%s:%d:%s:%d:%d', last, tokens, ends - back, share, pace,
                    max(0, paced - back), unseen, at - back, spilled)
                end
              end
            end
            -- Below 0 by what paces were promised of the inflow to come, and never by more than is on record.
            if not (balance >= -outstanding * token) then balance = -outstanding * token end
            balance = min(balance, max(0, capacity - outstanding * token))

            -- What spilled since the lessee's tokens were spent, for want of the room that they had left, is made good. How
            -- much spilled since its last request is known; it was less by at most what can have flowed in between.
            if asked then
              for _, ending in ipairs(endings) do
                if ending[3] and ending[1] < since then
                  local found = (spilled - spilled_then) % wrap
                  if found >= wrap / 2 then found = 0 end
                  found = min(ending[2] * token, max(0, found - max(0, ending[1] - asked) * rate))
                  balance, spilled = balance + found, (spilled - found) % wrap
                end
              end
            end

            local function refill(moment)
              if moment <= since then return end
              local inflow = (moment - since) * rate
              local level = max(balance, min(balance + inflow, capacity - outstanding * token))
              spilled = (spilled + min(capacity, inflow - (level - balance))) % wrap
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

            -- What waits is paid in its order, each in full or not at all, out of what the lessee holds and what is open:
            -- the balance, and the part of running paces that has not come yet, which the balance has been charged with.
            local room = max(0, capacity / token - outstanding)
            local whole = min(room, floor(max(0, balance + coming) / token))
            local left, everything = own + whole, true
            while next_number <= #numbers do
              local cost, count
              cost, count, next_number = unpack('<dd', numbers, next_number)
              local paying = min(count, floor(left / cost))
              left = left - paying * cost
              everything = everything and paying == count
            end
            local granted = max(0, whole - left)

            -- Ahead of use: at once as far as the lessee's share of the balance goes, the rest as a pace out of its share of
            -- the inflow. Who is alone may have more.
            local alone = weights == 0
            local function share(amount)
              if alone then return amount end
              if weight == 0 then return 0 end
              return floor(amount * (weight / (weight + weights)))
            end
            if alone then ahead, window = ahead * lone, window * lone end
            -- At most half of the capacity is out ahead of use at any time: the rest stays within reach of everybody.
            local spare = max(0, floor(capacity / token / 2) - outstanding - granted)
            if everything then
              local rest = whole - granted
              local due = weight == 0 and rest or share(rest)
              if rest <= ahead then due = rest end
              due = min(ahead, spare, due)
              granted, ahead, spare = granted + due, ahead - due, spare - due
            end
            -- Only where nothing is left is the inflow promised: a pace tells the lessee to wait.
            local free = max(0, rate - paces)
            local fair = min(free, alone and free or share(rate))
            local paced, pace, span = 0, 0, 0
            if granted == whole then paced = min(ahead, spare, floor(fair * window / token)) end
            if paced > 0 then
              span = math.ceil(paced * token / fair)
              -- Rounded down, so that no part of a token seems to be coming that was not granted.
              pace = floor(paced * token / span)
            end
            balance = balance - (granted + paced) * token

            for _, lessee in ipairs(gone) do call('HDEL', leases_key, lessee) end
            for i = 1, #moved, 2 do call('HSET', leases_key, moved[i], moved[i + 1]) end
            -- Longer than any lease lasts and the bucket then takes to fill: one that expires comes back full.
            local fill = math.ceil(capacity / rate)
            local life = max(60000, 2 * fill, duration + fill)
            -- What is written more than once is made text once: of a number as an argument Redis 7.0 makes text itself, and
            -- slowly.
            local life_text = life == 60000 and '60000' or format('%d', life)
            local now_text, spilled_text = format('%d', now), format('%d', spilled)
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
            -- The record stays until its end even where nothing is held: it knows which requests have been acted on.
            local record = format('%d:%d:%d:%d:%d:%d:%d:%s:%s', sequence, own + granted + paced, now + duration,
              weight, pace, now + span, granted + paced, now_text, spilled_text)
            call('HSET', leases_key, lessee, record, '', spilled_text .. ':' .. text)
            call('PEXPIRE', leases_key, life_text)
            local left = min(balance + coming + pace * span, (room - granted - paced) * token)
            return { granted, own, left, paced, span, free - pace, outstanding + granted + paced, repaired, latest - now }
            """

    /// How a node is told to run the script.
    enum Call {
        /// By the digest under which it knows it.
        case digest([UInt8])
        /// By its text, which it remembers.
        case source
    }

    private static let (byDigest, bySource) = (Array("EVALSHA".utf8), Array("EVAL".utf8))
    private static let sourceBytes = Array(source.utf8)

    /// Writes the command that carries a request.
    ///
    /// - Parameter keys: which of the organization's keys it is told.
    static func write(_ request: LeaseRequest, as call: Call, keys: KeyNames.Choice, to commands: inout RESPCommands) {
        let (name, script): ([UInt8], [UInt8]) =
            switch call {
            case .digest(let digest): (byDigest, digest)
            case .source: (bySource, sourceBytes)
            }
        let numbers = numberCount(of: request)
        let texts = name.count + script.count + request.lesseeID.utf8.count
        let payload =
            texts + 3 * request.key.count + KeyNames.bytesBesideName + RESPCommands.numberBytes
            + numbers * RESPCommands.doubleBytes
        commands.append(words: 5 + keys.count, payload: payload) { output in
            output.appendWord(name)
            output.appendWord(script)
            output.appendWord(Int64(keys.count))
            KeyNames.append(keys, of: request.key, to: &output)
            output.appendWord(request.lesseeID)
            output.appendWord(doubles: numbers) { output in appendNumbers(of: request, to: &output) }
        }
    }

    /// The command that has the script do nothing, where it can do anything at all.
    static func trial(digest: [UInt8], key: [UInt8]) -> [[UInt8]] {
        let numbers = [UInt8](repeating: 0, count: requestNumbers * RESPCommands.doubleBytes)
        return [byDigest, digest, Array("1".utf8), key, Array("trial".utf8), numbers]
    }

    /// Numbers of a request beside those of what waits.
    private static let requestNumbers = 14

    private static func numberCount(of request: LeaseRequest) -> Int { requestNumbers + 2 * request.waiting.count }

    /// What the script unpacks, in its order.
    @inline(__always)
    private static func appendNumbers(of request: LeaseRequest, to output: inout OutputSpan<UInt8>) {
        output.appendDouble(request.limit.capacityMicrotokens)
        output.appendDouble(request.limit.refillMicrotokensPerMillisecond)
        output.appendDouble(Int64(request.sequence))
        output.appendDouble(Int64(request.acknowledged))
        output.appendDouble(request.durationMilliseconds)
        output.appendDouble(Int64(request.held))
        output.appendDouble(request.unspentMilliseconds)
        output.appendDouble(Int64(request.returned))
        output.appendDouble(Int64(request.halfSpentTokens))
        output.appendDouble(request.halfSpentMilliseconds)
        output.appendDouble(Int64(request.requested.ahead))
        output.appendDouble(request.requested.weight)
        output.appendDouble(request.requested.trickleMilliseconds)
        output.appendDouble(Int64(request.requested.soloMultiplier))
        for costs in request.waiting {
            output.appendDouble(Int64(costs.cost))
            output.appendDouble(Int64(costs.count))
        }
    }

    /// The script with a request's numbers in it, told the lessee alone: for who can send it nothing but text.
    static func source(asking request: LeaseRequest) -> String {
        var bytes: [UInt8] = []
        bytes.append(addingCapacity: numberCount(of: request) * RESPCommands.doubleBytes) { output in
            appendNumbers(of: request, to: &output)
        }
        let escapes = bytes.map { "\\" + String(1000 + Int($0)).dropFirst() }.joined()
        return "local ARGV = { ARGV[1], '\(escapes)' }\n" + source
    }

    /// What the script answers.
    struct Answer {
        let grant: Grant
        /// How many values in the bucket's keys could not be what a server wrote, and were replaced or removed.
        let repairedValues: Int64
        /// By how much the store's clock has stepped back, as far as the records show it.
        let stepBackMilliseconds: Int64
    }

    /// Reads the answer to a request; nil where no script of ours can have answered that.
    ///
    /// Every number is held within its range here, so that arithmetic on a grant cannot overflow.
    static func answer(in reply: RESPReply, to request: LeaseRequest) -> Answer? {
        guard case .numbers(let numbers) = reply else { return nil }
        let tokens = 0...Int64(request.limit.capacity)
        let exact = 0...largestExactInteger
        guard tokens ~= numbers[0], 0...Int64(request.held) ~= numbers[1],
            tokens ~= numbers[3],
            0...longestAnsweredMilliseconds ~= numbers[4], exact ~= numbers[5], exact ~= numbers[6],
            exact ~= numbers[7], exact ~= numbers[8]
        else { return nil }
        // Garbage in the records may make these two as large as it likes; they only say how little is left.
        let most = Int64(Limit.maximumCapacity)
        let microtokens = most * Limit.microtokensPerToken
        let grant = Grant(
            tokens: Int(numbers[0]), held: Int(numbers[1]),
            openMicrotokens: min(max(numbers[2], -microtokens), microtokens), trickleTokens: Int(numbers[3]),
            trickleMilliseconds: numbers[4], openRefillMicrotokensPerMillisecond: numbers[5],
            outstanding: Int(min(numbers[6], most)))
        return Answer(grant: grant, repairedValues: numbers[7], stepBackMilliseconds: numbers[8])
    }

    /// Where doubles, in which the script computes, cease to be exact.
    private static let largestExactInteger: Int64 = 1 << 53
    /// A day: longer than any trickle grant.
    private static let longestAnsweredMilliseconds: Int64 = 86_400_000
}
