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

    @Test("replies of every type are read, in whatever pieces they come")
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
        "bytes that are no RESP are an error that says so", arguments: ["hello\r\n", ":12x\r\n", "$-5\r\n", "*x\r\n"])
    func refusesGarbage(wire: String) {
        #expect(throws: RESPReader.ProtocolError.self) { try read([wire]) }
    }

    @Test("a reply without an end is given up at a megabyte")
    func boundsReplies() {
        let endless = ["$10000000\r\n"] + [String](repeating: String(repeating: "x", count: 65536), count: 16)
        let error = #expect(throws: RESPReader.ProtocolError.self) { try read(endless) }
        #expect(error?.description.contains("1048576") == true)
    }

    @Test("commands are written with their lengths, binary bytes and all")
    func writesCommands() {
        var buffer = ByteBuffer()
        RESPCommand.write([Array("SET".utf8), [0, 13, 10, 255], []], to: &buffer)
        let expected = Array("*3\r\n$3\r\nSET\r\n$4\r\n".utf8) + [0, 13, 10, 255] + Array("\r\n$0\r\n\r\n".utf8)
        #expect(Array(buffer.readableBytesView) == expected)
    }
}
