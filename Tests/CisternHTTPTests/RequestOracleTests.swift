import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import Testing

@testable import CisternHTTP

@Suite("The request reader compared with llhttp")
struct RequestOracleTests {
    /// Valid requests of each kind that the reader knows; the tests mutate them.
    private static let seeds = [
        "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Length: "
            + "15\r\n\r\n{\"message\":\"a\"}",
        "POST /chat?a=b HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: "
            + "chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n"
            + "0\r\nT: v\r\n\r\n",
        "GET http://h/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /metrics HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\n\r\n",
    ]

    /// Text fragments on which HTTP parsers disagree.
    private static let fragments = [
        "\r\n", "\n", "\r", "\r\r\n", " ", "\t", ":", "\u{0}", "\u{b}", "\u{7f}", "é", ";", ",", "\"", "\\", "+", "-",
        "0", "0x", "F",
        "Content-Length: 5\r\n", "Content-Length: 0\r\n", "content-length:5 \r\n", "Content-Length : 5\r\n",
        "Content-Length: 5,5\r\n",
        "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Transfer-Encoding:\tchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n", "transfer-encoding: CHUNKED\r\n", "Transfer_Encoding: chunked\r\n",
        "Host: b\r\n",
        "Connection: close\r\n", "Connection: keep-alive, close\r\n", "Upgrade: x\r\n", "x-org-id: p\r\n",
        "X-ORG-ID:\tp\t\r\n", " x\r\n",
        "0\r\n\r\n", "1\r\na\r\n", "ffffffffffffffff\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", " HTTP/1.1", "HTTP/1.0",
        "HTTP/2.0",
        "/", "//", "?", "#", "*", "http://", "@", "%00", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Expect: 100-continue\r\n",
    ].map { Array($0.utf8) }

    private static func mutated(_ seed: [UInt8], using random: inout SeededRandom) -> [UInt8] {
        var bytes = seed
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let index = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0, 1:
                bytes.insert(contentsOf: fragments[Int.random(in: 0..<fragments.count, using: &random)], at: index)
            case 2: bytes.removeSubrange(index..<min(bytes.count, index + Int.random(in: 1...8, using: &random)))
            case 3: if index < bytes.count { bytes[index] = UInt8.random(in: 0...255, using: &random) }
            default:
                // Copies a piece of the request to another place.
                let piece = Array(bytes[index...].prefix(Int.random(in: 1...32, using: &random)))
                bytes.insert(contentsOf: piece, at: Int.random(in: 0...bytes.count, using: &random))
            }
        }
        return bytes
    }

    @Test("llhttp and the reader agree on every request that the reader accepts, of 20,000 mutated ones")
    func agrees() {
        var random = SeededRandom(seed: 20)
        var (accepted, refused) = (0, 0)
        for _ in 0..<20_000 {
            let seed = Array(Self.seeds[Int.random(in: 0..<Self.seeds.count, using: &random)].utf8)
            let bytes = Self.mutated(seed, using: &random)
            let difference = RequestOracle.difference(on: bytes)
            #expect(difference == nil, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
            let outcome = RequestOracle.read([bytes])
            accepted += outcome.readings.count
            if outcome.refusal != nil { refused += 1 }
        }
        // Both outcomes must be frequent, or the comparison would prove little.
        #expect(accepted > 5000 && refused > 5000, "\(accepted) \(refused)")
    }

    @Test("llhttp and the reader agree on every request that the reader accepts, of the fuzzer's corpus")
    func corpus() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "RequestFuzz/Corpus")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        #expect(files.count > 100)
        for file in files {
            let difference = RequestOracle.difference(on: Array(try Data(contentsOf: file)))
            #expect(difference == nil, "\(file.lastPathComponent)")
        }
    }

    @Test("the oracle does read valid requests, so that its comparison is meaningful")
    func reads() {
        let reading = RequestOracle.read([Array(Self.seeds[0].utf8)]).readings[0]
        #expect(reading.organizations == ["o"] && reading.body == Array(#"{"message":"a"}"#.utf8))
        for seed in Self.seeds.prefix(4) { #expect(!RequestOracle.read([Array(seed.utf8)]).readings.isEmpty) }
    }
}
