/// The lease script: releases expired leases, refills the bucket, takes returned tokens and grants new ones, in one
/// atomic step whose cost does not depend on the number of lessees.
///
/// `StoreBucket` is its twin in Swift, with the same steps and names. The script computes in whole units below 2^53,
/// which doubles represent exactly, and uses only the clock of Redis.
///
/// The balance is stored as a decimal string, and the time of the last refill in milliseconds since 1970. Other
/// programs that keep token buckets may read and write both. The leases hash has the exact state in the field with the
/// empty name, and one record for each lessee, as lists of numbers in MessagePack: converting text took much of a call.
enum LeaseScript {
    static let source = """
        local call, floor, ceil, min, max = redis.call, math.floor, math.ceil, math.min, math.max
        local format, read = string.format, struct.unpack
        local lessee, numbers = ARGV[1], ARGV[2]
        local units, capacity, rate, sequence, acknowledged, duration, held, since_spend, returned, half_spent,
          half_spent_for, prefetch, weight, window, solo_multiplier, fills, next_number =
            read('<dddddddddddddddd', numbers)
        -- Trial at login: writes nothing, but fails wherever a real request would fail.
        if units == 0 then return call('SET', KEYS[1], '1', 'XX') and 1 or 0 end
        -- While a Redis Cluster migrates a slot, only the first Redis key may be passed. The others derive from it.
        local tokens_key = KEYS[1]
        local refill_key = KEYS[2] or (string.gsub(tokens_key, 'tokens$', 'lastRefill'))
        local leases_key = KEYS[3] or (string.gsub(tokens_key, 'tokens$', 'leases'))
        local full, wrap = capacity * units, 4503599627370496

        local time = call('TIME')
        local clock = time[1] * 1000 + floor(time[2] / 1000)
        -- Keys of the wrong type count as missing, and are replaced. Damage: 1 balance, 2 time, 4 leases.
        local damage = { 0, 0, 0 }
        local function text_of(key)
          local value = redis.pcall('GET', key)
          if type(value) ~= 'table' then return value end
          return not string.find(value.err, 'WRONGTYPE') and call('GET', key)
        end
        local stored = { text_of(tokens_key), text_of(refill_key) }
        local fields = redis.pcall('HMGET', leases_key, '', fills == 0 and lessee or '')
        if fields.err then fields = {} end
        local header, text = fields[1], fills == 0 and fields[2]
        local tokens, refilled = tonumber(stored[1]), tonumber(stored[2])
        if tokens ~= tokens then tokens = nil end
        if not tokens and not header and fills == 1 then return 0 end

        -- Reads a list of numbers; nil for anything else that another program has written.
        local function list(bytes, fewest)
          if not bytes then return nil end
          local is_packed, result = pcall(cmsgpack.unpack, bytes)
          if not is_packed or type(result) ~= 'table' or #result < fewest then return nil end
          for i = 1, #result do
            local number = result[i]
            if type(number) ~= 'number' or not (number > -2 * wrap and number < 2 * wrap) then return nil end
          end
          return result
        end

        -- The state: eleven numbers, then four for each expiry slot, then two for each trickle slot.
        local state = list(header, 11)
        if state and (state[1] ~= 2 or state[2] < 1) then state = nil end
        local now, as_of, since, offset, step_back = clock, 0, clock, 0, 0
        local balance, overflow, version, blocked, dead, outstanding = full, 0, 0, 0, 0, 0
        local first_trickle, last_number = 12, 11
        if state then
          first_trickle, last_number = 12 + 4 * state[11], #state
          balance, as_of, offset, overflow, version, blocked, dead =
            state[3], state[4], state[5], state[6], state[7], state[8], state[9]
          for i = 13, first_trickle - 1, 4 do outstanding = outstanding + state[i] end
          -- The store's time never goes back: after a step of Redis's clock it waits for the old time.
          now = clock + offset
          if now < as_of then step_back, offset, now = as_of - now, as_of - clock, as_of end
          since = as_of
          -- Another program writes both balance and time. One of them alone is damage, unless it lowers the balance.
          local written_at = as_of - state[5]
          if not tokens then
            damage[1] = 1
          elseif tokens ~= state[10] then
            if tokens < state[10] or refilled and refilled ~= written_at then
              balance = floor(min(max(tokens, -1000000000), 1000000000) * state[2] + 0.5)
            else
              damage[1] = 1
            end
          end
          if not refilled or refilled < written_at and tokens == state[10] then
            damage[2] = 2
          elseif refilled > written_at then
            since = min(now, floor(refilled) + offset)
          end
        else
          if call('DEL', leases_key) == 1 or tokens and held > 0 then damage[3] = 4 end
          text = false
          if stored[1] then balance = floor(max(0, tokens or 0) * units + 0.5) end
          if stored[1] and not tokens then damage[1] = 1 end
          if stored[1] and refilled and refilled >= 0 and refilled <= clock then
            since = floor(refilled)
          elseif stored[2] and not refilled then
            damage[2] = 2
          end
        end

        -- Another limit may count in other units. The rates of its trickle grants say nothing then, so that new ones
        -- wait until the last of them ends.
        local trickles, promised_rate, promised = {}, 0, 0
        if state and state[2] ~= units then
          local whole = floor(balance / state[2])
          local rest = (balance - whole * state[2]) / state[2] * units
          balance, version = whole * units + max(0, floor(rest) - 1), version + 1
          for i = first_trickle, last_number, 2 do blocked = max(blocked, state[i]) end
          last_number = 0
        end

        -- The lessee's own record counts if its slot still does.
        local own = text and list(text, 10)
        if text and not own then damage[3] = 4 end
        if own then
          if sequence <= own[1] and own[3] > now then
            return redis.error_reply('STALE a later request came first')
          end
          if own[3] <= as_of then own, dead = nil, max(0, dead - 1) end
        end
        -- The end of a time from now, rounded up to a multiple of a power of two: by at most a part of the time.
        local function slot_end(milliseconds, parts)
          local _, exponent = math.frexp(milliseconds / parts)
          local length = max(1, 2 ^ (exponent - 1))
          return ceil((now + milliseconds) / length) * length
        end
        local out = { 2, units, 0, now, 0, 0, 0, 0, 0, 0, 0 }
        local own_slot, is_own_known, latest = nil, false, now
        local others, weights, lessees, endings = 0, 0, 0, {}
        local ends_at = slot_end(duration, 8)
        for i = 12, first_trickle - 1, 4 do
          local ends, slot_tokens, slot_weight, count = state[i], state[i + 1], state[i + 2], state[i + 3]
          if own and ends == own[3] and own[2] <= slot_tokens and own[4] <= slot_weight then
            slot_tokens, slot_weight, count, is_own_known =
              slot_tokens - own[2], slot_weight - own[4], count - 1, true
          end
          if count > 0 and ends <= now then
            endings[#endings + 1] = { ends, slot_tokens }
            dead = dead + count
          elseif count > 0 then
            local at = #out
            if ends == ends_at then own_slot = at end
            out[at + 1], out[at + 2], out[at + 3], out[at + 4] = ends, slot_tokens, slot_weight, count
            others, weights, lessees, latest = others + slot_tokens, weights + slot_weight, lessees + count,
              max(latest, ends)
          end
        end
        if own and not is_own_known then own, damage[3] = nil, 4 end
        for i = first_trickle, last_number, 2 do
          local ends, slot_rate = state[i], state[i + 1]
          if own and own[6] == ends and own[10] == version then slot_rate = slot_rate - own[5] end
          if ends > now and slot_rate > 0 then
            promised_rate, promised = promised_rate + slot_rate, promised + slot_rate * (ends - now)
            local at = #trickles
            trickles[at + 1], trickles[at + 2] = ends, slot_rate
          end
        end
        promised = min(promised, others * units)

        -- What the lessee reports: tokens still held, tokens to credit, and when the others were spent.
        local own_held, credit = 0, 0
        if own and own[3] <= now then
          endings[#endings + 1] = { held > 0 and own[3] or min(now - since_spend, own[3]), own[2] }
        elseif own then
          own_held = min(own[2], held)
          credit = min(returned + (own[1] > acknowledged and own[7] or 0), own[2] - own_held)
          local spent = own[2] - own_held - credit
          half_spent = min(half_spent, spent)
          if half_spent > 0 then
            endings[#endings + 1] = { min(now - since_spend, now - half_spent_for), half_spent, true }
          end
          if spent > half_spent then endings[#endings + 1] = { now - since_spend, spent - half_spent, true } end
        end

        -- Refill stops at the capacity minus the outstanding tokens at every moment. So refill up to each moment at
        -- which leased tokens were spent or expired, and then release them. Trickle grants are charged before their
        -- refill arrives, so that the balance may be negative: at most by the outstanding tokens.
        balance = max(balance, -min(capacity, outstanding) * units)
        balance = min(balance, max(0, capacity - outstanding) * units)
        if own and own[10] == version then
          -- Credit refill that found no room only because the spent tokens were still on record: the overflow since the
          -- lessee's last request, without the most that can have flowed in before the spend.
          for _, ending in ipairs(endings) do
            if ending[3] and ending[1] < since then
              local found = (overflow - own[9]) % wrap
              if found >= wrap / 2 then found = 0 end
              found = min(ending[2] * units, max(0, found - max(0, ending[1] - own[8]) * rate))
              balance, overflow = balance + found, (overflow - found) % wrap
            end
          end
        end
        local function refill(moment)
          if moment <= since then return end
          local inflow = (moment - since) * rate
          local level = max(balance, min(balance + inflow, max(0, capacity - outstanding) * units))
          overflow = (overflow + min(full, inflow - (level - balance))) % wrap
          balance, since = level, moment
        end
        if #endings > 1 then table.sort(endings, function(a, b) return a[1] < b[1] end) end
        for _, ending in ipairs(endings) do
          refill(ending[1])
          outstanding = outstanding - ending[2]
        end
        refill(now)
        outstanding = outstanding - credit
        balance = min(balance + credit * units, max(balance, max(0, capacity - outstanding) * units))

        -- Pay the waiting requests in order, each in full or not at all, from the lessee's tokens and the balance.
        -- Trickle tokens that have not arrived yet (`promised`) are already charged to the balance, so add them back.
        local room = max(0, capacity - outstanding)
        local whole = min(room, floor(max(0, balance + promised) / units))
        local left, everything = own_held + whole, true
        while next_number <= #numbers do
          local cost, count
          cost, count, next_number = read('<dd', numbers, next_number)
          local paying = min(count, floor(left / cost))
          left = left - paying * cost
          everything = everything and paying == count
        end
        local granted = max(0, whole - left)

        -- Grant prefetch tokens: up to the lessee's share of the balance at once, the rest as a trickle grant from its
        -- share of the refill. For a sole lessee, multiply prefetch and window by the solo multiplier.
        local alone = weights == 0
        local function share(amount)
          if alone then return amount end
          if weight == 0 then return 0 end
          return floor(amount * (weight / (weight + weights)))
        end
        if alone then prefetch, window = prefetch * solo_multiplier, window * solo_multiplier end
        -- Prefetch stops once half of the capacity is outstanding: the rest stays available to every server.
        local prefetch_room = max(0, floor(capacity / 2) - outstanding - granted)
        local due = 0
        if everything then
          local rest = whole - granted
          due = (rest <= prefetch or weight == 0) and rest or share(rest)
          due = min(prefetch, prefetch_room, due)
          granted, prefetch, prefetch_room = granted + due, prefetch - due, prefetch_room - due
        end
        -- Promise future refill only if the balance covers less than half of what is wanted, because a trickle grant
        -- makes the lessee wait. If it waited for an empty balance instead, many lessees would ask for crumbs.
        local free = now < blocked and 0 or max(0, rate - promised_rate)
        local fair = min(free, share(rate))
        local trickle_tokens, trickle_rate, trickle_end = 0, 0, now
        if fair > 0 and window > 0 and (granted == whole or everything and due < prefetch) then
          -- A sole lessee gets the whole refill, to the millisecond.
          local function end_of(milliseconds) return alone and now + milliseconds or slot_end(milliseconds, 32) end
          local flow = min(wrap, fair * (end_of(window) - now))
          trickle_tokens = min(prefetch, prefetch_room, floor(flow / units))
          if trickle_tokens > 0 then
            trickle_end = end_of(ceil(trickle_tokens * units / fair))
            -- Rounded down, so that the rate never delivers more than the granted tokens.
            trickle_rate = floor(trickle_tokens * units / (trickle_end - now))
            local at = #trickles + 1
            for i = 1, at - 1, 2 do
              if trickles[i] == trickle_end then at = i end
            end
            trickles[at], trickles[at + 1] = trickle_end, (trickles[at + 1] or 0) + trickle_rate
          end
        end
        balance = balance - (granted + trickle_tokens) * units
        if fills == 1 then balance = max(0, capacity - outstanding) * units end
        outstanding = outstanding + granted + trickle_tokens

        -- Expired records go a few per call, found at random: as many as make dead records rare among the live ones.
        if sequence % 64 == 0 and state then dead = max(0, call('HLEN', leases_key) - lessees - (text and 2 or 1)) end
        if dead > 0 and fills == 0 then
          local sample =
            call('HRANDFIELD', leases_key, min(25, ceil(25 * dead / (dead + lessees))), 'WITHVALUES')
          local gone = {}
          for i = 1, #sample, 2 do
            local name, record = sample[i], sample[i + 1]
            if name ~= '' and name ~= lessee then
              local other = list(record, 10)
              if not other or other[3] <= now then gone[#gone + 1] = name end
            end
          end
          if #gone > 0 then call('HDEL', leases_key, unpack(gone)) end
          dead = max(0, dead - #gone)
        end

        -- Format each repeated number once: Redis 7.0 is slow at formatting numbers that are passed as arguments.
        -- The decimal is rounded down to a millionth of a token.
        local micro = floor(balance / units) * 1000000 + floor(balance % units * 1000000 / units)
        local size = micro < 0 and -micro or micro
        local fraction = size % 1000000
        local decimal = format(fraction == 0 and '%s%d.0' or '%s%d.%06d', micro < 0 and '-' or '',
          floor(size / 1000000), fraction)
        if fills == 0 then
          -- Keep the record until it expires, even if it holds no tokens: its sequence number detects late requests.
          local on_record = own_held + granted + trickle_tokens
          if own_slot then
            out[own_slot + 2], out[own_slot + 3], out[own_slot + 4] =
              out[own_slot + 2] + on_record, out[own_slot + 3] + weight, out[own_slot + 4] + 1
          else
            local at = #out
            out[at + 1], out[at + 2], out[at + 3], out[at + 4] = ends_at, on_record, weight, 1
          end
          latest, lessees = max(latest, ends_at), lessees + 1
          text = cmsgpack.pack({ sequence, on_record, ends_at, weight, trickle_rate, trickle_end,
            granted + trickle_tokens, now, overflow, version })
        end
        out[3], out[5], out[6], out[7], out[8], out[9], out[10], out[11] =
          balance, offset, overflow, version, blocked, dead, micro / 1000000, (#out - 11) / 4
        for i = 1, #trickles do out[#out + 1] = trickles[i] end
        header = cmsgpack.pack(out)
        if fills == 0 then
          call('HSET', leases_key, lessee, text, '', header)
        else
          call('HSET', leases_key, '', header)
        end
        -- The Redis keys outlive every lease by one complete refill, because an expired bucket comes back full.
        local fill = ceil(full / rate)
        local life = max(60000, 2 * fill, latest - now + fill)
        local life_text = life == 60000 and '60000' or format('%d', life)
        call('SET', tokens_key, decimal, 'PX', life_text)
        call('SET', refill_key, format('%d', now - offset), 'PX', life_text)
        call('PEXPIRE', leases_key, life_text)
        local open = balance + promised + trickle_rate * (trickle_end - now)
        open = min(open, (room - granted - trickle_tokens) * units)
        return { granted, own_held, open, trickle_tokens, trickle_end - now, free - trickle_rate, outstanding,
          lessees, damage[1] + damage[2] + damage[3], step_back }
        """
}
