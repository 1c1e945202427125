internal import Cistern

/// The names of keys in Redis.
///
/// An organization has three, `ratelimit:<org>:tokens`, `…:lastRefill` and `…:leases`. In a Redis Cluster its name is a
/// hash tag, `ratelimit:{<org>}:tokens`, so that all three are in one slot.
enum KeyNames {
    /// A key that never exists, for trying whether a node takes writes.
    static let probe = Array("ratelimit:probe".utf8)
    /// The hash of servers that use the failure policy `local`.
    static let servers = Array("ratelimit:servers".utf8)

    private static let fields = ["tokens", "lastRefill", "leases"]

    /// The names of an organization's keys: tokens, time of the last refill, leases.
    static func bucket(of key: [UInt8], isTagged: Bool) -> [[UInt8]] {
        fields.map { redisKey(of: key, $0, isTagged: isTagged) }
    }

    static func redisKey(of key: [UInt8], _ field: String, isTagged: Bool) -> [UInt8] {
        guard isTagged else { return prefix + key + Array(":\(field)".utf8) }
        return taggedPrefix + tag(of: key) + Array("}:\(field)".utf8)
    }

    private static let prefix = Array("ratelimit:".utf8)
    private static let taggedPrefix = Array("ratelimit:{".utf8)
    private static let suffixes = fields.map { Array(":\($0)".utf8) }
    private static let taggedSuffixes = fields.map { Array("}:\($0)".utf8) }

    /// Which of an organization's keys a script is told, and how they are written.
    struct Choice: Sendable {
        let isTagged: Bool
        /// 3 for all of them, 1 for the first alone.
        var count = 3
    }

    /// The bytes of three keys beside the organization's name, at most.
    static let bytesBesideName = 3 * (taggedPrefix.count + taggedSuffixes[1].count + 1)

    /// Writes an organization's keys as the next words of a command: the same names, without making them first.
    static func append(_ choice: Choice, of key: [UInt8], to output: inout OutputSpan<UInt8>) {
        let name = choice.isTagged ? tag(of: key) : key
        for index in 0..<choice.count {
            if choice.isTagged {
                output.appendWord(taggedPrefix, name, taggedSuffixes[index])
            } else {
                output.appendWord(prefix, name, suffixes[index])
            }
        }
    }

    /// An organization's name as a hash tag.
    ///
    /// An empty tag is none, and a tag ends at the first brace. A brace put before such names, and before those that
    /// would then be the same as one of them, keeps keys apart and each organization's keys together.
    static func tag(of key: [UInt8]) -> [UInt8] {
        switch key.first {
        case nil, UInt8(ascii: "{"), UInt8(ascii: "}"): [UInt8(ascii: "{")] + key
        default: key
        }
    }
}
