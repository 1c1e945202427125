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
        local lessee, sequence, duration = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
        local held, quiet, returned = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
        local ahead = tonumber(ARGV[9])
        local token = 1000000

        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

        -- Leases as they stand. One that has ended is due to go at its end; the lessee's own is lowered to what it says
        -- it holds, at the moment since which it has spent nothing.
        local outstanding, own, credit, endings = 0, 0, 0, {}
        local records = redis.call('HGETALL', KEYS[3])
        for i = 1, #records, 2 do
          local last, tokens, ends = string.match(records[i + 1], '^(%d+):(%d+):(%d+)$')
          last, tokens, ends = tonumber(last), tonumber(tokens) or 0, tonumber(ends) or 0
          outstanding = outstanding + tokens
          if records[i] == lessee then
            if last and sequence <= last then return redis.error_reply('STALE a later request came first') end
            local at = now - quiet
            if ends <= now then
              at = held > 0 and ends or math.min(at, ends)
            else
              own = math.min(tokens, held)
              credit = math.min(returned, tokens - own)
            end
            endings[#endings + 1] = { at, tokens - own - credit }
          elseif ends <= now then
            endings[#endings + 1] = { ends, tokens }
            redis.call('HDEL', KEYS[3], records[i])
          end
        end

        local balance = redis.call('GET', KEYS[1])
        local since = tonumber(redis.call('GET', KEYS[2]) or now) or now
        if balance then
          balance = math.floor((tonumber(balance) or 0) * token + 0.5)
        else
          balance = capacity
        end
        -- A clock that was set back must not hold refill up until it is where it was.
        if not (since >= 0 and since <= now) then since = now end
        since = math.floor(since)
        if not (balance >= 0) then balance = 0 end
        balance = math.min(balance, math.max(0, capacity - outstanding * token))

        local function refill(moment)
          if moment <= since then return end
          balance = math.max(balance, math.min(balance + (moment - since) * rate, capacity - outstanding * token))
          since = moment
        end
        table.sort(endings, function(a, b) return a[1] < b[1] end)
        for _, ending in ipairs(endings) do
          refill(ending[1])
          outstanding = outstanding - ending[2]
        end
        refill(now)
        outstanding = outstanding - credit
        balance = balance + credit * token

        -- What waits is paid in its order, each in full or not at all, out of what the lessee holds and what is here.
        local whole = math.floor(balance / token)
        local left, paid, everything = own + whole, 0, true
        for i = 10, #ARGV, 2 do
          local cost, count = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
          local paying = math.min(count, math.floor(left / cost))
          left, paid = left - paying * cost, paid + paying * cost
          everything = everything and paying == count
        end
        local granted = math.max(0, paid - own)
        -- Of what is left, at most half goes ahead of use: others may be about to ask.
        if everything then
          granted = granted + math.min(ahead, math.floor((whole - granted) / 2))
        end
        balance = balance - granted * token

        local life = math.max(60000, math.ceil(2 * capacity / rate), duration)
        local fraction = string.gsub(string.format('%06d', balance % token), '0+$', '')
        if fraction == '' then fraction = '0' end
        redis.call('SET', KEYS[1], string.format('%d', math.floor(balance / token)) .. '.' .. fraction, 'PX', life)
        redis.call('SET', KEYS[2], string.format('%d', now), 'PX', life)
        -- The record stays until its end even where nothing is held: it knows which requests have been acted on.
        local record = string.format('%d:%d:%d', sequence, own + granted, now + duration)
        redis.call('HSET', KEYS[3], lessee, record)
        redis.call('PEXPIRE', KEYS[3], life)
        return { granted, own, balance }
        """

    /// How many of the arguments are keys.
    static let keyCount = 3

    /// The keys of an organisation and the arguments of a request, in the script's order.
    static func arguments(of request: LeaseRequest) -> [[UInt8]] {
        [
            key(request.organization, "tokens"), key(request.organization, "lastRefill"),
            key(request.organization, "leases"),
            decimal(request.limit.capacityMicrotokens), decimal(request.limit.refillMicrotokensPerMillisecond),
            Array(request.lessee.utf8), decimal(request.sequence), decimal(request.durationMilliseconds),
            decimal(request.held), decimal(request.quietMilliseconds), decimal(request.returned),
            decimal(request.ahead),
        ] + request.waiting.flatMap { [decimal($0.cost), decimal($0.count)] }
    }

    /// The grant in the script's answer; nil where the answer is not one of the script's.
    static func grant(from reply: RESPValue) -> Grant? {
        guard case .array(let fields) = reply, fields.count == 3,
            case .integer(let granted) = fields[0], case .integer(let held) = fields[1],
            case .integer(let balance) = fields[2]
        else { return nil }
        return Grant(tokens: Int(granted), held: Int(held), balanceMicrotokens: balance)
    }

    private static func key(_ organization: [UInt8], _ field: String) -> [UInt8] {
        Array("ratelimit:".utf8) + organization + Array(":\(field)".utf8)
    }

    private static func decimal(_ number: some BinaryInteger) -> [UInt8] {
        Array(String(number).utf8)
    }
}
