internal import Cistern

/// The script that refills a bucket completely, except for tokens that are still leased.
///
/// It mirrors `StoreBucket.fill`. A missing bucket counts as full.
enum FillScript {
    private static let source =
        LeaseScript.plausibleRecordFunction + """
            local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
            local time = redis.call('TIME')
            local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
            if not redis.call('GET', KEYS[1]) then return 0 end
            local outstanding = 0
            local records = redis.call('HGETALL', KEYS[3])
            for i = 1, #records, 2 do
              local tokens, ends, trickle_rate, trickle_ends, at =
                string.match(records[i + 1], '^%d+:(%d+):(%d+):%d+:(%d+):(%d+):%d+:(%d+):%d+$')
              local is_plausible = at and plausible(
                tonumber(tokens), tonumber(ends), tonumber(trickle_rate), tonumber(trickle_ends), tonumber(at), 0)
              if is_plausible and tonumber(ends) > now then
                outstanding = outstanding + tonumber(tokens)
              elseif records[i] ~= '' then
                redis.call('HDEL', KEYS[3], records[i])
              end
            end
            local life = math.max(60000, 2 * math.ceil(capacity * 1000000 / rate), redis.call('PTTL', KEYS[3]))
            local balance = string.format('%d.0', math.max(0, capacity - outstanding))
            redis.call('SET', KEYS[1], balance, 'PX', life)
            redis.call('SET', KEYS[2], string.format('%d', now), 'PX', life)
            local overflow = string.match(redis.call('HGET', KEYS[3], '') or '', '^%d+')
            if overflow then redis.call('HSET', KEYS[3], '', overflow .. ':' .. balance) end
            return 1
            """

    /// The command that fills a bucket.
    static func command(_ key: [UInt8], limit: Limit, names: KeyNames) -> [[UInt8]] {
        ["EVAL", source, "3"].map { Array($0.utf8) } + names.bucket(of: key)
            + ["\(limit.capacity)", "\(limit.refillMicrotokensPerMillisecond)"].map { Array($0.utf8) }
    }
}
