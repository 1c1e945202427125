import CisternProcesses
import CisternSupport
import CisternTesting
import Foundation
import NIOCore
import Testing

@testable import CisternHTTP

@Suite("Request bodies")
struct BodyTests {
    private func message(_ text: String) throws -> String? {
        try JSONScanner.value(of: "message", in: ByteBuffer(string: text)).map { String(buffer: $0) }
    }

    @Test(
        "the message is returned exactly as it is written",
        arguments: [
            (#"{"message":"hi"}"#, #""hi""#), (#" { "a" : [1,2] , "message" : null } "#, "null"),
            (#"{"message":{"a":[true,false,-1.5e+3]}}"#, #"{"a":[true,false,-1.5e+3]}"#),
            (#"{"message":1,"message":2}"#, "2"), (#"{"\u006dessag\u0065":0}"#, "0"), (#"{"Message":1}"#, nil),
            (#"{"x":{"message":1}}"#, nil), (#"{"messages":1}"#, nil), (#"{"messag":1}"#, nil), ("[]", nil), ("3", nil),
            (#""\ud83d\ude00 \/""#, nil), ("{}", nil),
        ] as [(String, String?)])
    func findsTheMessage(text: String, value: String?) throws {
        #expect(try message(text) == value)
    }

    @Test(
        "text that RFC 8259 does not allow is rejected with the byte offset of the error",
        arguments: [
            ("", 0), ("{", 1), ("{]", 1), (#"{"a"}"#, 4), (#"{"a":}"#, 5), (#"{"a":1,}"#, 7), ("[1,]", 3), ("[1 2]", 3),
            ("01", 1), ("1.", 2), ("1e", 2), ("+1", 0), ("-", 1), (".5", 0), ("tru", 3), ("nul1", 3), ("NaN", 0),
            ("\"a\nb\"", 2), (#""\x""#, 2), (#""\u12g4""#, 5), (#""abc"#, 4), ("1 1", 2), ("{'a':1}", 1),
            ("\u{feff}1", 0), (String(repeating: "[", count: 65), 64),
        ])
    func refuses(text: String, offset: Int) {
        let error = #expect(throws: JSONScanner.Failure.self) { try message(text) }
        #expect(error?.offset == offset, "\(text): \(String(describing: error))")
    }

    @Test(
        "bytes that are not UTF-8 are rejected",
        arguments: [
            [0x80], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
            [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82],
        ] as [[UInt8]])
    func refusesBadUTF8(bytes: [UInt8]) {
        let text = ByteBuffer(bytes: [UInt8(ascii: "\"")] + bytes + [UInt8(ascii: "\"")])
        #expect(throws: JSONScanner.Failure.self) { try JSONScanner.value(of: "message", in: text) }
    }

    @Test("the scanner accepts nothing that Foundation rejects, over 20,000 mutated JSON texts")
    func agreesWithFoundation() throws {
        var random = SeededRandom(seed: 11)
        let alphabet = Array(#"{}[]:,"\truefalsn0123.5-eE+ u00e9"#.utf8)
        let seed = Array(#"{"message":"a\u00e9","b":[1,-2.5e3,true,null,{"c":"d"}]}"#.utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            var text = seed
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let index = Int.random(in: 0..<text.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: text[index] = alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
                case 1: text.remove(at: index)
                default: text.insert(alphabet[Int.random(in: 0..<alphabet.count, using: &random)], at: index)
                }
            }
            let ours = (try? JSONScanner.value(of: "message", in: ByteBuffer(bytes: text))) != nil
            let theirs = (try? JSONSerialization.jsonObject(with: Data(text), options: .fragmentsAllowed)) != nil
            #expect(!ours || theirs, "we accept \(String(decoding: text, as: UTF8.self))")
            if ours { accepted += 1 }
        }
        #expect(accepted > 5000)
    }

    @Test(
        "forms are decoded the way browsers encode them",
        arguments: [
            ("message=hi", "hi"), ("a=b&message=x+y%2B%C3%A9", "x y+é"), ("message", ""), ("message=", ""),
            ("message=1&message=2", "2"), ("message=100%", "100%"), ("message=%zz", "%zz"), ("message=%ff", "\u{fffd}"),
            ("mess%61ge=a=b", "a=b"), ("other=1", nil), ("&&&", nil),
        ] as [(String, String?)])
    func forms(text: String, value: String?) {
        #expect(FormDecoder.value(of: "message", in: ByteBuffer(string: text)) == value)
    }

    @Test("a JSON parser returns quoted strings unchanged")
    func quoting() throws {
        let text = "\u{0}\u{1f}\"\\/é😀\u{7f}"
        var buffer = ByteBuffer()
        buffer.writeJSONString(text)
        let decoded = try JSONSerialization.jsonObject(with: Data(buffer.readableBytesView), options: .fragmentsAllowed)
        #expect(decoded as? String == text)
    }
}

@Suite("Timestamps and request IDs")
struct TimestampTests {
    private func written(_ milliseconds: Int64) -> [String] {
        var buffers = [ByteBuffer](repeating: ByteBuffer(), count: 3)
        let time = Timestamp(unixMilliseconds: milliseconds)
        buffers[0].writeSeconds(of: time)
        buffers[1].writeMilliseconds(of: time)
        buffers[2].writeHTTPDate(time)
        return buffers.map { String(buffer: $0) }
    }

    @Test("timestamps are written in the formats of the HTTP contract")
    func knownTimes() {
        #expect(
            written(1_707_042_610_123) == [
                "2024-02-04T10:30:10Z", "2024-02-04T10:30:10.123Z", "Sun, 04 Feb 2024 10:30:10 GMT",
            ])
        #expect(written(0)[0] == "1970-01-01T00:00:00Z")
        #expect(written(951_782_400_000)[0] == "2000-02-29T00:00:00Z")
        #expect(written(4_107_542_399_999)[1] == "2100-02-28T23:59:59.999Z")
        #expect(written(.max)[1] == "9999-12-31T23:59:59.999Z")
        #expect(written(-1)[0] == "1970-01-01T00:00:00Z")
    }

    @Test("timestamps agree with Foundation's calendar at 5000 random seconds")
    func agreesWithFoundation() throws {
        var random = SeededRandom(seed: 5)
        let formatter = ISO8601DateFormatter()
        for _ in 0..<5000 {
            let second = Int64.random(in: 0..<253_402_300_800, using: &random)
            #expect(written(second * 1000)[0] == formatter.string(from: Date(timeIntervalSince1970: Double(second))))
        }
    }

    @Test("request IDs are version 4 UUIDs, and 10,000 of them are distinct")
    func ids() throws {
        var system = SeededRandom(seed: 9)
        var generator = RequestIDGenerator(seededBy: &system)
        var seen: Set<String> = []
        for _ in 0..<10_000 {
            var buffer = ByteBuffer()
            buffer.writeRequestID(RequestID(using: &generator))
            let text = String(buffer: buffer)
            let uuid = try #require(UUID(uuidString: text))
            #expect(uuid.uuid.6 >> 4 == 4 && uuid.uuid.8 >> 6 == 2)
            seen.insert(text)
        }
        #expect(seen.count == 10_000)
    }

    @Test("decimal numbers of every length are written correctly", arguments: [0, 7, 10, 99, 100, 429, 1_000_000_000])
    func decimals(number: Int) {
        var buffer = ByteBuffer()
        buffer.writeDecimal(number)
        #expect(String(buffer: buffer) == "\(number)")
    }
}
