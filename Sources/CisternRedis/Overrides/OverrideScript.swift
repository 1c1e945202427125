internal import Cistern
internal import CisternCluster

/// The scripts that read and write a node's copy of all limit overrides.
///
/// A hash has one field per key. A version beside it changes with each write, so servers that poll every second read
/// the hash only after a change. Both Redis keys share a hash tag: a Redis Cluster has one copy, in the slot of that
/// tag.
struct OverrideScript {
    let names: KeyNames

    /// The partition of the copy in a Redis Cluster.
    static let partition = PartitionID(UInt16(HashSlot.of(Array("overrides".utf8))))

    private static let readSource = """
        local time = redis.call('TIME')
        local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
        local version = redis.call('GET', KEYS[2]) or ''
        if version == ARGV[1] then return { now, version } end
        return { now, version, redis.call('HGETALL', KEYS[1]) }
        """

    /// The command that reads the copy if its version is not the given one.
    func read(since version: String) -> [[UInt8]] {
        command(Self.readSource, [version])
    }

    /// A node's reply to ``read(since:)``.
    struct Reading {
        let nowMilliseconds: Int64
        let version: String
        /// Nil if nothing has changed.
        var overrides: LimitOverrides?

        init?(_ reply: RESPValue) {
            guard case .array(let fields) = reply, fields.count == 2 || fields.count == 3,
                let now = fields[0].storeMilliseconds, case .string(let version) = fields[1]
            else { return nil }
            nowMilliseconds = now
            self.version = String(decoding: version, as: UTF8.self)
            guard fields.count == 3 else { return }
            guard case .array(let words) = fields[2] else { return nil }
            var read = LimitOverrides()
            for index in stride(from: 0, to: words.count - 1, by: 2) {
                guard case .string(let name) = words[index], case .string(let text) = words[index + 1],
                    let entry = LimitOverrides.Entry(text: String(decoding: text, as: UTF8.self))
                else { continue }
                read.merge(String(decoding: name, as: UTF8.self), entry)
            }
            overrides = read
        }
    }

    private static let writeSource = """
        local written = 0
        for i = 1, #ARGV, 3 do
          local name, at, text = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
          local known = redis.call('HGET', KEYS[1], name)
          if not known or (tonumber(string.match(known, '^(%d+):')) or 0) <= at then
            written = written + 1
            if text == '' then
              redis.call('HDEL', KEYS[1], name)
            else
              redis.call('HSET', KEYS[1], name, text)
            end
          end
        end
        local time = redis.call('TIME')
        if written > 0 then redis.call('SET', KEYS[2], time[1] .. '.' .. time[2]) end
        return written
        """

    /// The command that stores entries, unless a later entry for the same key exists.
    ///
    /// Its reply is the number of entries that were stored.
    func write(_ entries: [String: LimitOverrides.Entry]) -> [[UInt8]] {
        command(
            Self.writeSource,
            entries.sorted { $0.key < $1.key }.flatMap { [$0.key, "\($0.value.setAtMilliseconds)", $0.value.text] })
    }

    /// The command that deletes entries, unless a later entry for the same key exists.
    func drop(_ entries: [String: LimitOverrides.Entry]) -> [[UInt8]] {
        command(
            Self.writeSource,
            entries.sorted { $0.key < $1.key }.flatMap { [$0.key, "\($0.value.setAtMilliseconds)", ""] })
    }

    private func command(_ source: String, _ arguments: [String]) -> [[UInt8]] {
        ["EVAL", source, "\(names.overrides.count)"].map { Array($0.utf8) } + names.overrides
            + arguments.map { Array($0.utf8) }
    }
}
