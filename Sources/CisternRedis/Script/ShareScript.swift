internal import Cistern

/// The script that lets each server have a part of all limits to itself, for the failure policy `local`.
///
/// A hash has a field for each server: its part in millionths, and when that lapses. Parts are equal as far as they can be:
/// a server gets the whole divided by the number of servers, less what the others have not given up yet. So they add up to
/// the whole at most, at every moment. What a server still holds of an earlier answer stays on record until it says that it
/// holds less; its answer may be lost.
enum ShareScript {
    static let source = """
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
        local server, held, duration = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
        local whole, taken, count = 1000000, 0, 1
        local records = redis.call('HGETALL', KEYS[1])
        for i = 1, #records, 2 do
          local share, ends = string.match(records[i + 1], '^(%d+):(%d+)$')
          if not share or tonumber(ends) <= now then
            redis.call('HDEL', KEYS[1], records[i])
          elseif records[i] ~= server then
            taken, count = taken + tonumber(share), count + 1
          end
        end
        if duration == 0 then
          redis.call('HDEL', KEYS[1], server)
          return { 0, count - 1 }
        end
        local share = math.max(0, math.min(math.floor(whole / count), whole - taken))
        redis.call('HSET', KEYS[1], server, string.format('%d:%d', math.max(share, held), now + duration))
        redis.call('PEXPIRE', KEYS[1], duration)
        return { share, count }
        """

    /// The command by which a server asks for its part, telling what it holds, in millionths; or, with `isLeaving`, gives it
    /// up.
    static func command(server: String, held: Int64, isLeaving: Bool = false) -> [[UInt8]] {
        let duration = isLeaving ? 0 : ShareLease.durationMilliseconds
        return [
            Array("EVAL".utf8), Array(source.utf8), Array("1".utf8), KeyNames.servers, Array(server.utf8),
            Array("\(held)".utf8), Array("\(duration)".utf8),
        ]
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
