import Cistern
import NIOCore
import Testing

@testable import CisternHummingbird

@Suite("The client's address behind proxies")
struct ClientAddressTests {
    private func key(_ peer: String, _ forwardedFor: [String] = [], trusting: [String], prefix: Int = 56) throws
        -> String?
    {
        let client = try ClientAddress(trustedProxies: trusting, ipv6PrefixLength: prefix)
        return client.key(peer: try SocketAddress(ipAddress: peer, port: 1), forwardedFor: forwardedFor)
    }

    @Test("without trusted proxies the peer is the client, whatever it claims")
    func noProxies() throws {
        #expect(try key("203.0.113.7", ["1.2.3.4"], trusting: []) == "203.0.113.7")
        #expect(try key("203.0.113.7", ["1.2.3.4"], trusting: ["10.0.0.0/8"]) == "203.0.113.7")
    }

    @Test(
        "addresses are read from right to left, as far as the proxies are trusted",
        arguments: [
            (["1.1.1.1"], "1.1.1.1"), (["6.6.6.6, 1.1.1.1"], "1.1.1.1"), (["6.6.6.6", "1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (["1.1.1.1", "10.0.0.3", "10.0.0.2"], "1.1.1.1"), ([], "10.0.0.1"), (["10.0.0.2"], "10.0.0.2"),
            (["1.1.1.1, unknown"], "10.0.0.1"), (["1.1.1.1,"], "10.0.0.1"), ([" 1.1.1.1 "], "1.1.1.1"),
            (["1.1.1.1:4711"], "1.1.1.1"), (["[2001:db8:0:1234::1]:80"], "2001:db8:0:1200::/56"),
            (["2001:db8:0:1234::1%eth0"], "2001:db8:0:1200::/56"), (["::ffff:1.1.1.1"], "1.1.1.1"),
            (["::ffff:10.0.0.9"], "10.0.0.9"), (["1.1.1"], "10.0.0.1"),
        ])
    func proxies(forwardedFor: [String], client: String) throws {
        #expect(try key("10.0.0.1", forwardedFor, trusting: ["10.0.0.0/8"]) == client)
    }

    @Test("an IPv6 client is its network, of the given length")
    func networks() throws {
        #expect(try key("2001:db8:1:2ff::1", trusting: []) == "2001:db8:1:200::/56")
        #expect(try key("2001:db8:1:2ff::1", trusting: [], prefix: 64) == "2001:db8:1:2ff::/64")
        #expect(try key("2001:db8:1:2ff::1", trusting: [], prefix: 128) == "2001:db8:1:2ff::1")
        #expect(try key("2001:db8::1", trusting: [], prefix: 1) == "::/1")
        #expect(try key("fd00::1", ["2001:db8::9"], trusting: ["fd00::/8"], prefix: 128) == "2001:db8::9")
        #expect(try key("127.0.0.1", ["1.1.1.1"], trusting: ["127.0.0.1"]) == "1.1.1.1")
    }

    @Test("a peer without an IP address has no key")
    func unixSockets() throws {
        let client = try ClientAddress(trustedProxies: [], ipv6PrefixLength: 56)
        #expect(client.key(peer: try SocketAddress(unixDomainSocketPath: "/tmp/x"), forwardedFor: []) == nil)
        #expect(client.key(peer: nil, forwardedFor: ["1.1.1.1"]) == nil)
    }

    @Test(
        "an invalid network or length is an error that names it",
        arguments: ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0/8", "fd00::/129", "proxy", "10.0.0.0/"])
    func invalidNetworks(text: String) {
        let error = #expect(throws: InvalidSetting.self) {
            try ClientAddress(trustedProxies: ["127.0.0.1", text], ipv6PrefixLength: 56)
        }
        #expect(error?.name == "trustedProxies" && error?.value == text)
        for length in [0, 129, -1, Int.max] {
            let error = #expect(throws: InvalidSetting.self) {
                try ClientAddress(trustedProxies: [], ipv6PrefixLength: length)
            }
            #expect(error?.name == "ipv6PrefixLength")
        }
    }
}
