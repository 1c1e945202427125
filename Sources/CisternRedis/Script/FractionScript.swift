internal import Cistern
internal import CisternCluster

/// The script that lets each server have a part of all limits to itself, for the failure policy `local`.
///
/// A hash has a field for each server: its part in millionths, when that lapses, and the number of its last request. Parts are
/// equal as far as they can be: a server gets the whole divided by the number of servers, less what the others have not
/// given up yet. So they add up to the whole at most, at every moment. What a server still holds of an earlier answer stays
/// on record until it says that it holds less; its answer may be lost.
///
/// The field without a name says when the hash began. Where it was lost, with the node's data or because nobody could renew
/// it, servers may be going on at parts that it knows nothing of: until those must have lapsed, nobody gets more than
/// he says that he has.
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

    /// The command by which a server asks for its part, or, with `isLeaving`, gives it up.
    static func command(server: String, _ ask: FractionLease.Ask, isLeaving: Bool = false) -> [[UInt8]] {
        [
            "EVAL", source, "1", String(decoding: KeyNames.servers, as: UTF8.self), server, "\(ask.held)",
            "\(ask.sequence)", "\(FractionLease.durationMilliseconds)", isLeaving ? "1" : "0",
        ].map { Array($0.utf8) }
    }

    /// The part in the script's answer, in millionths, and how many servers there are; nil where the answer is not one of
    /// the script's.
    static func share(in reply: RESPValue) -> (millionths: Int64, servers: Int64)? {
        guard case .array(let fields) = reply, fields.count == 2, case .integer(let share) = fields[0],
            case .integer(let servers) = fields[1]
        else { return nil }
        return (share, servers)
    }
}
