internal import Cistern

/// The names of the Redis keys.
///
/// A bucket has three: `ratelimit:<key>:tokens`, `…:lastRefill` and `…:leases`. In a Redis Cluster the bucket's key is
/// a hash tag, as in `ratelimit:{<key>}:tokens`, so that all three are in one slot.
enum KeyNames {
    /// A Redis key that never exists, for write probes.
    static let probe = Array("ratelimit:probe".utf8)
    /// The hash of the servers that use the failure policy `local`.
    static let servers = Array("ratelimit:servers".utf8)

    private static let fields = ["tokens", "lastRefill", "leases"]

    /// The names of a bucket's Redis keys: tokens, time of the last refill, leases.
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

    /// Which of a bucket's Redis keys are passed to a script, and how their names are written.
    struct KeySelection: Sendable {
        let isTagged: Bool
        /// 3 for all Redis keys, 1 for only the first.
        var count = 3
    }

    /// An upper bound for the bytes of the three names, not counting the bucket's key in each.
    static let nameOverheadBytes = 3 * (taggedPrefix.count + taggedSuffixes[1].count + 1)

    /// Appends the names of a bucket's Redis keys to a command as arguments, without allocating them.
    static func append(_ choice: KeySelection, of key: [UInt8], to output: inout OutputSpan<UInt8>) {
        let name = choice.isTagged ? tag(of: key) : key
        for index in 0..<choice.count {
            if choice.isTagged {
                output.appendArgument(taggedPrefix, name, taggedSuffixes[index])
            } else {
                output.appendArgument(prefix, name, suffixes[index])
            }
        }
    }

    /// A bucket's key as a hash tag; an empty key, or one that begins with a brace, gets a `{` in front.
    ///
    /// Redis ignores an empty hash tag, and a tag ends at the first closing brace. The added brace keeps the Redis keys
    /// of different buckets distinct, and those of one bucket in one slot.
    static func tag(of key: [UInt8]) -> [UInt8] {
        switch key.first {
        case nil, UInt8(ascii: "{"), UInt8(ascii: "}"): [UInt8(ascii: "{")] + key
        default: key
        }
    }
}
