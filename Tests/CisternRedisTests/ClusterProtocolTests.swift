import Cistern
import CisternProcesses
import CisternTesting
import Logging
import NIOPosix
import Synchronization
import Testing

@testable import CisternRedis

@Suite("The protocol of a Redis Cluster")
struct ClusterProtocolTests {
    private func slot(_ key: String) -> Int { HashSlot.of(Array(key.utf8)) }

    @Test("hash slots follow the specification")
    func slots() {
        #expect(HashSlot.crc16("123456789".utf8) == 0x31c3)
        #expect(slot("foo") == 12182 && slot("") == 0)
        #expect(slot("{user1000}.following") == slot("user1000"))
        // Only the text between the first { and the next } is hashed, and only if it is not empty.
        #expect(slot("foo{}{bar}") == Int(HashSlot.crc16("foo{}{bar}".utf8)) % 16384)
        #expect(slot("foo{{bar}}zap") == slot("{bar"))
        #expect(slot("foo{bar}{zap}") == slot("bar"))
    }

    static let oddNames = [
        "acme", "a:b", "", "{", "}", "{}", "}{", "{a}", "a{b}c", "a}b", "}a", "{{", "{}x", "}x", "Zürich", "a b",
    ]

    @Test("a real cluster assigns all three Redis keys of any name to the slot that HashSlot computes")
    func agreesWithRedis() async throws {
        let folder = try TemporaryDirectory()
        let redis = try await RedisServer(["--cluster-enabled", "yes", "--dir", folder.path])
        for name in Self.oddNames {
            let bytes = Array(name.utf8)
            let partition = HashSlot.ofBucket(bytes.span)
            for key in KeyNames(isTagged: true).bucket(of: bytes) {
                let text = String(decoding: key, as: UTF8.self)
                #expect(try await redis.command("CLUSTER", "KEYSLOT", text) == "\(partition)", "\(name): \(text)")
            }
        }
    }

    @Test("no two names share a Redis key, with and without hash tags")
    func keysAreApart() {
        for isTagged in [false, true] {
            let names = KeyNames(isTagged: isTagged)
            let keys = Self.oddNames.flatMap { names.bucket(of: Array($0.utf8)) }
            #expect(Set(keys).count == 3 * Self.oddNames.count)
            #expect(!keys.contains(names.probe) && !keys.contains(names.servers))
        }
    }

    @Test("redirections are distinguished from other errors")
    func redirects() {
        #expect(Redirect("MOVED 3999 127.0.0.1:6381") == .moved(slot: 3999, NodeAddress(host: "127.0.0.1", port: 6381)))
        #expect(Redirect("ASK 1 ::1:7000") == .ask(slot: 1, NodeAddress(host: "::1", port: 7000)))
        #expect(Redirect("MOVED 1 :7000") == .moved(slot: 1, NodeAddress(host: "", port: 7000)))
        #expect(NodeAddress(host: "", port: 1).on("a") == NodeAddress(host: "a", port: 1))
        #expect(Redirect("TRYAGAIN Multiple keys request during rehashing of slot") == .tryAgain)
        #expect(Redirect("CLUSTERDOWN Hash slot not served") == .unserved)
        for text in ["MOVED", "MOVED 3999", "MOVED 16384 h:1", "MOVED x h:1", "ASK 1 h:0", "ERR no", "CLUSTERDOWN x"] {
            #expect(Redirect(text) == nil, "\(text)")
        }
    }

    @Test("slot maps of old and new servers are read, and malformed slot maps are rejected")
    func slotMaps() throws {
        func node(_ host: RESPValue, _ port: Int64, more: [RESPValue] = []) -> RESPValue {
            .array([host, .integer(port), .string(Array("id".utf8))] + more)
        }
        let name = RESPValue.string(Array("10.0.0.1".utf8))
        let old = RESPValue.array([
            .array([.integer(0), .integer(5), node(name, 1), node(name, 2)]),
            .array([.integer(6), .integer(9), node(.null, 3)]),
        ])
        let map = try #require(SlotMap(old, from: "10.9.9.9"))
        #expect(map.ranges.map(\.slots) == [0...5, 6...9])
        #expect(
            map.ranges.map(\.primary) == [
                NodeAddress(host: "10.0.0.1", port: 1), NodeAddress(host: "10.9.9.9", port: 3),
            ])
        #expect(map.replicas == [NodeAddress(host: "10.0.0.1", port: 2)])
        let new = RESPValue.array([.array([.integer(0), .integer(5), node(name, 1, more: [.array([])])])])
        #expect(SlotMap(new, from: "h")?.ranges.count == 1)
        // A node that should announce a host name and has none sends "?", and perhaps its IP address.
        let pairs = ["ip", "10.0.0.7"].map { RESPValue.string(Array($0.utf8)) }
        let unknown = RESPValue.string(Array("?".utf8))
        let hostless = RESPValue.array([
            .array([.integer(0), .integer(5), node(unknown, 1, more: [.array(pairs)])]),
            .array([.integer(6), .integer(9), node(unknown, 2)]),
        ])
        let found = try #require(SlotMap(hostless, from: "10.9.9.9"))
        // The slots of a node without an address stay unassigned. Assigning them to the queried node would cause
        // redirection loops.
        #expect(found.ranges.map(\.primary) == [NodeAddress(host: "10.0.0.7", port: 1)])
        #expect(found.identifiers == ["id"])
        for wrong in [
            RESPValue.null, .integer(1), .array([.integer(1)]),
            .array([.array([.integer(5), .integer(0), node(name, 1)])]),
            .array([.array([.integer(0), .integer(16384), node(name, 1)])]),
            .array([.array([.integer(0), .integer(1), node(name, 0)])]),
        ] {
            #expect(SlotMap(wrong, from: "h") == nil)
        }
    }

    @Test("a redirection loop costs few commands and is logged once")
    func circles() async throws {
        let slot = HashSlot.ofBucket(Array("acme".utf8).span)
        let port = Atomic(0)
        let redis = try ScriptedRedis { words in
            switch words.first {
            case "CLUSTER":
                "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:\(port.load(ordering: .relaxed))\r\n$2\r\nid\r\n"
            case "EVALSHA" where !words.contains("trial"): "-MOVED \(slot) ?:\(port.load(ordering: .relaxed))\r\n"
            default: ScriptedRedis.defaultReplies(words)
            }
        }
        port.store(redis.port, ordering: .relaxed)
        let (log, clock) = (LogCounter(), ClockTimeSource(ContinuousClock()))
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: redis.url)], topology: .cluster, environment: StoreEnvironment(clock: clock),
            eventLoopGroup: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "test") { _ in LogCounter.Handler(counter: log) })
        await store.start()
        let limiter = RateLimiterEngine(limits: Limits(), store: store, lesseeID: "server-1", seed: 1)
        #expect(await limiter.decide("acme", now: clock.now()).outcome == .unmetered)
        let asked = redis.commands.count { $0.first == "EVALSHA" && !$0.contains("trial") }
        #expect(1...15 ~= asked, "\(asked)")
        #expect(log.count("cannot find the node that owns their slot") == 1)
        await store.stop()
    }
}
