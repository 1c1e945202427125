import CisternRedis
import Testing

@Suite("A Redis URL")
struct RedisEndpointTests {
    @Test("a URL names host, port, database, user, password and TLS")
    func parses() throws {
        let plain = try RedisEndpoint(url: "redis://cache.example")
        #expect(plain.host == "cache.example" && plain.port == 6379 && plain.database == 0)
        #expect(plain.username == nil && plain.password == nil && !plain.usesTLS)
        let full = try RedisEndpoint(url: "rediss://me:p%40ss%2Fw:rd@[::1]:7000/3")
        #expect(full.host == "::1" && full.port == 7000 && full.database == 3 && full.usesTLS)
        #expect(full.username == "me" && full.password == "p@ss/w:rd")
        #expect(full.name == "[::1]:7000/3" && full.weight == 1)
        let named = try RedisEndpoint(url: "redis://:a%3Fb@h:7000/1?weight=3&name=cache-a")
        #expect(named.name == "cache-a" && named.weight == 3 && named.password == "a?b" && named.database == 1)
        #expect(try RedisEndpoint(url: "redis://h?name=a").port == 6379)
        let anonymous = try RedisEndpoint(url: "redis://:secret@127.0.0.1:1/")
        #expect(anonymous.username == nil && anonymous.password == "secret" && anonymous.database == 0)
    }

    @Test(
        "a URL is rejected with the reason if it names no valid node",
        arguments: [
            ("http://x", "start with redis://"), ("127.0.0.1:6379", "start with redis://"), ("redis://", "no host"),
            ("redis://:6379", "no host"), ("redis://h:0", "1 to 65535"), ("redis://h:65536", "1 to 65535"),
            ("redis://h:+1", "1 to 65535"), ("redis://h:", "1 to 65535"), ("redis://h/x", "database number"),
            ("redis://h/-1", "database number"), ("redis://h/1/2", "database number"), ("redis://u@h", ":password"),
            ("redis://u:%zz@h", "hexadecimal"), ("redis://[::1", "no ]"), ("redis://h?db=1", "nothing else"),
            ("redis://h?weight=0", "weight"), ("redis://h?name=a%20b", "name"),
        ])
    func refuses(url: String, part: String) {
        let error = #expect(throws: RedisEndpoint.InvalidURL.self) { try RedisEndpoint(url: url) }
        #expect(error?.description.contains(part) == true, "\(String(describing: error))")
    }

    @Test("an endpoint never shows its password")
    func hidesThePassword() throws {
        let endpoint = try RedisEndpoint(url: "redis://me:hunter2@h:1/0")
        var dumped = ""
        dump(endpoint, to: &dumped)
        for text in [
            "\(endpoint)", String(reflecting: endpoint), String(describing: [endpoint]), dumped, endpoint.name,
        ] {
            #expect(!text.contains("hunter2"), "\(text)")
        }
        let error = #expect(throws: RedisEndpoint.InvalidURL.self) {
            try RedisEndpoint(url: "redis://me:hunter2@h:99999/0")
        }
        #expect(error?.description.contains("hunter2") == false)
        #expect(error?.description.contains("***@h:99999") == true)
    }
}
