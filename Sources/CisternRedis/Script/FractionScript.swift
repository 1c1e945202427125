internal import Cistern
internal import CisternCluster

/// The script that grants each server a local fraction of all limits, for the failure policy `local`.
///
/// A hash has one field per server: its fraction in millionths, the expiry, and the sequence number of its last
/// request. With n servers each is entitled to 1/n, but gets at most what the records of the other servers leave. The
/// fractions therefore never add up to more than the whole. A server may report a larger fraction than it is granted
/// now. The larger one stays on record until the server reports a smaller one, because the reply may be lost.
///
/// The field with the empty name holds the creation time of the hash. A hash can be lost with the node's data, or
/// because no server could renew it. Servers may then still use fractions that a new hash does not contain. Until these
/// fractions have expired, each server gets at most the fraction that it reports.
enum FractionScript {
    static let source = """
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
        local server, held, sequence = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
        local duration, leaves = tonumber(ARGV[4]), ARGV[5] == '1'
        local whole, taken, count, began = 1000000, 0, 1, now
        local records = redis.call('HGETALL', KEYS[1])
        for i = 1, #records, 2 do
          local share, ends, last = string.match(records[i + 1], '^(%d+):(%d+):(%d+)$')
          if records[i] == '' then
            began = math.min(now, tonumber(records[i + 1]) or now)
          elseif not share or tonumber(ends) <= now then
            redis.call('HDEL', KEYS[1], records[i])
          elseif records[i] ~= server then
            taken, count = taken + tonumber(share), count + 1
          elseif sequence <= tonumber(last) then
            return redis.error_reply('STALE a later request came first')
          end
        end
        if leaves then
          redis.call('HDEL', KEYS[1], server)
          return { 0, count - 1 }
        end
        local share = math.max(0, math.min(math.floor(whole / count), whole - taken))
        if now - began < duration then share = math.min(share, held) end
        local record = string.format('%d:%d:%d', math.max(share, held), now + duration, sequence)
        redis.call('HSET', KEYS[1], server, record, '', string.format('%d', began))
        redis.call('PEXPIRE', KEYS[1], duration)
        return { share, count }
        """

    /// The command that requests this server's local fraction, or gives it up if `isLeaving`.
    static func command(
        _ names: KeyNames, server: String, _ ask: FractionLease.Request, isLeaving: Bool = false
    ) -> [[UInt8]] {
        [
            "EVAL", source, "1", String(decoding: names.servers, as: UTF8.self), server, "\(ask.held)",
            "\(ask.sequence)", "\(FractionLease.durationMilliseconds)", isLeaving ? "1" : "0",
        ].map { Array($0.utf8) }
    }

    /// Parses the script's reply: the fraction in millionths and the number of servers; nil if it is malformed.
    static func fraction(in reply: RESPValue) -> (millionths: Int64, servers: Int64)? {
        guard case .array(let fields) = reply, fields.count == 2, case .integer(let fraction) = fields[0],
            case .integer(let servers) = fields[1]
        else { return nil }
        return (fraction, servers)
    }
}
