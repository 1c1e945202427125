import Cistern
import NIOCore
import Testing

@testable import CisternRedis

@Suite("RESP")
struct RESPTests {
    private func read(_ pieces: [String]) throws -> [RESPValue] {
        var reader = try RESPReader()
        var values: [RESPValue] = []
        for piece in pieces {
            try reader.feed(ByteBuffer(string: piece))
            while let value = try reader.next() { values.append(value) }
        }
        return values
    }

    private func text(_ text: String) -> RESPValue { .string(Array(text.utf8)) }

    @Test("replies of every type are read, however their bytes are split")
    func readsReplies() throws {
        let wire = "+OK\r\n:-7\r\n$5\r\nhe\r\no\r\n$-1\r\n*3\r\n:1\r\n$0\r\n\r\n*1\r\n+x\r\n-ERR no\r\n*-1\r\n"
        let expected: [RESPValue] = [
            text("OK"), .integer(-7), text("he\r\no"), .null, .array([.integer(1), text(""), .array([text("x")])]),
            .error("ERR no"), .null,
        ]
        #expect(try read([wire]) == expected)
        #expect(try read(wire.map { String($0) }.flatMap { $0 == "\r\n" ? ["\r", "\n"] : [$0] }) == expected)
    }

    @Test(
        "bytes that are not RESP cause a protocol error", arguments: ["hello\r\n", ":12x\r\n", "$-5\r\n", "*x\r\n"])
    func refusesGarbage(wire: String) {
        #expect(throws: RESPReader.ProtocolError.self) { try read([wire]) }
    }

    @Test("an endless reply is rejected at 4 MiB")
    func boundsReplies() {
        let endless = ["$10000000\r\n"] + [String](repeating: String(repeating: "x", count: 65536), count: 64)
        let error = #expect(throws: RESPReader.ProtocolError.self) { try read(endless) }
        #expect(error?.description.contains("4194304") == true)
    }

    @Test("commands are written with their lengths, including binary bytes")
    func writesCommands() {
        var commands = RESPCommandBuffer()
        commands.append(command: [Array("SET".utf8), [0, 13, 10, 255], []])
        let expected = Array("*3\r\n$3\r\nSET\r\n$4\r\n".utf8) + [0, 13, 10, 255] + Array("\r\n$0\r\n\r\n".utf8)
        #expect(commands.bytes == expected)
        commands.removeAll()
        #expect(commands.bytes.isEmpty)
    }

    @Test("numbers are written as Swift writes them, whatever their length and sign")
    func writesNumbers() {
        var random = SystemRandomNumberGenerator()
        let edges: [Int64] = [0, 9, 10, 99, 100, 101, -1, -10, .max, .min, 1_000_000_000_000_000]
        for number in edges + (0..<1000).map({ .random(in: .min ... .max, using: &random) >> Int64($0 % 64) }) {
            var commands = RESPCommandBuffer()
            commands.append(words: 1, payload: RESPCommandBuffer.numberBytes) { $0.appendArgument(number) }
            #expect(String(decoding: commands.bytes, as: UTF8.self) == "*1\r\n$\("\(number)".count)\r\n\(number)\r\n")
        }
    }

    @Test("a lease request with the longest names and the largest numbers fits the reserved space")
    func longestRequest() throws {
        let limit = try Limit(capacity: Limit.maximumCapacity, refillPerSecond: Limit.maximumRefillPerSecond)
        let request = LeaseRequest(
            key: [UInt8](repeating: 0x7b, count: 1000), limit: limit,
            lesseeID: String(repeating: "é", count: 100), sequence: UInt64(Int64.max), acknowledged: UInt64(Int64.max),
            held: .max, millisecondsSinceLastSpend: .min, halfSpentTokens: .max, halfSpentMilliseconds: .min,
            returned: .max,
            waiting: [WaitingRun](repeating: WaitingRun(cost: .max, count: .max), count: 64),
            requested: RequestedLease(
                prefetchTokens: .max, weight: .max, trickleMilliseconds: .min, soloMultiplier: .max),
            durationMilliseconds: .max, sentAt: Instant(milliseconds: 0), deadline: Instant(milliseconds: 1))
        for call in [LeaseScript.Call.source, .digest([UInt8](repeating: 0x61, count: 40))] {
            for (isTagged, keyCount) in [(true, 3), (false, 1)] {
                let names = KeyNames(prefix: String(repeating: "p", count: 64), isTagged: isTagged)
                var commands = RESPCommandBuffer()
                LeaseScript.write(request, as: call, names: names, keyCount: keyCount, to: &commands)
                let words = try words(of: commands.bytes)
                #expect(words.count == 5 + keyCount)
                #expect(words[2] == Array("\(keyCount)".utf8))
                #expect(Array(words[3..<3 + keyCount]) == Array(names.bucket(of: request.key).prefix(keyCount)))
                #expect(words[words.count - 2] == Array(request.lesseeID.utf8))
                let last = words[words.count - 1]
                let numbers = stride(from: 0, to: last.count, by: 8).map { start in
                    Double(bitPattern: last[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) })
                }
                let (most, least) = (Double(Int.max), Double(Int64.min))
                #expect(
                    numbers
                        == [1_000_000, Double(limit.capacity), Double(limit.refillUnitsPerMillisecond)]
                        + [most, most, most, most, least, most, most, least, most, most, least, most, 0]
                        + [Double](repeating: most, count: 2 * 64))
            }
        }
    }

    /// Returns the words of a command, and expects that the bytes contain nothing else.
    private func words(of bytes: [UInt8]) throws -> [[UInt8]] {
        var reader = try RESPReader()
        try reader.feed(ByteBuffer(bytes: bytes))
        let values: [RESPValue] = if case .array(let values) = try reader.next() { values } else { [] }
        let words: [[UInt8]] = values.compactMap { if case .string(let word) = $0 { word } else { nil } }
        var again = RESPCommandBuffer()
        again.append(command: words)
        #expect(again.bytes == bytes)
        return words
    }

    @Test(
        "a reply that is not RESP2 or is nested too deeply causes an error and does not trap",
        arguments: [
            "#t\r\n", ",1.5\r\n", "%1\r\n+a\r\n+b\r\n", "~1\r\n:1\r\n", ">1\r\n:1\r\n", "*1\r\n#t\r\n", "(1\r\n",
            String(repeating: "*1\r\n", count: 12) + ":1\r\n", String(repeating: "*1\r\n", count: 100_000) + ":1\r\n",
        ])
    func otherProtocols(wire: String) throws {
        #expect(throws: RESPReader.ProtocolError.self) {
            var reader = try RESPReader()
            try reader.feed(ByteBuffer(string: wire))
            // An incomplete reply counts as an error in this test, too.
            guard try reader.next() != nil else { throw RESPReader.ProtocolError(description: "not whole") }
        }
    }
}
