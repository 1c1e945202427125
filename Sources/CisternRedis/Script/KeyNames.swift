internal import Cistern

/// The names of the Redis keys of one limiter's buckets.
///
/// A bucket has three: `ratelimit:<key>:tokens`, `…:lastRefill` and `…:leases`. In a Redis Cluster the bucket's key is
/// a hash tag, as in `ratelimit:{<key>}:tokens`, so that all three are in one slot. The namespace of
/// the limiter replaces `ratelimit`.
final class KeyNames: Sendable {
    let prefix: String
    /// Whether the bucket's key is written as a hash tag.
    let isTagged: Bool
    /// A Redis key that never exists, for write probes.
    let probe: [UInt8]
    /// The hash of the servers that use the failure policy `local`.
    let servers: [UInt8]
    /// The hash of the overrides, and its version.
    let overrides: [[UInt8]]
    /// A pattern that matches the token count of every bucket.
    let tokensPattern: String
    private let start: [UInt8]
    private let ends: [[UInt8]]

    /// The last parts of the names of a bucket's Redis keys.
    static let fields = ["tokens", "lastRefill", "leases"]

    init(prefix: String = StoreEnvironment.defaultNamespace, isTagged: Bool) {
        self.prefix = prefix
        self.isTagged = isTagged
        probe = Array("\(prefix):probe".utf8)
        servers = Array("\(prefix):servers".utf8)
        overrides = ["\(prefix):{overrides}", "\(prefix):{overrides}:version"].map { Array($0.utf8) }
        tokensPattern = "\(prefix):*:tokens"
        start = Array("\(prefix):\(isTagged ? "{" : "")".utf8)
        ends = Self.fields.map { Array("\(isTagged ? "}" : ""):\($0)".utf8) }
    }

    /// The names of a bucket's Redis keys: tokens, time of the last refill, leases.
    func bucket(of key: [UInt8]) -> [[UInt8]] {
        let name = isTagged ? Self.tag(of: key) : key
        return ends.map { start + name + $0 }
    }

    /// A Redis key for write probes that no bucket uses; on a cluster, each number gives a key in another slot.
    func probe(number: Int) -> [UInt8] {
        start + Array("\(number)\(isTagged ? "}" : ""):probe".utf8)
    }

    /// An upper bound for the bytes of the three names, not counting the bucket's key in each.
    var nameOverheadBytes: Int { 3 * (start.count + ends[1].count + 1) }

    /// Appends the names of the first `count` of a bucket's Redis keys to a command, without allocating them.
    func append(count: Int, of key: [UInt8], to output: inout OutputSpan<UInt8>) {
        let name = isTagged ? Self.tag(of: key) : key
        for index in 0..<count { output.appendArgument(start, name, ends[index]) }
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
