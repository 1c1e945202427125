import NIOCore
import NIOEmbedded
import Testing

@testable import CisternRedis

@Suite("A connection to Redis")
final class RedisConnectionTests {
    private let channel = EmbeddedChannel()
    private let connection: RedisConnection
    private var outcomes: [String] = []
    private var reasons: [String] = []

    init() throws {
        var end: (NodeFailure) -> Void = { _ in }
        connection = RedisConnection(maximumPending: 3) { end($1) }
        connection.probe = { [[UInt8(ascii: "P")]] }
        end = { [unowned self] in reasons.append($0.message) }
        try channel.pipeline.syncOperations.addHandler(connection)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    private func send(_ word: String, within milliseconds: Int64 = 100, closesConnectionOnTimeout: Bool = false) {
        connection.send(
            [Array(word.utf8)], closesConnectionOnTimeout: closesConnectionOnTimeout,
            deadline: channel.embeddedEventLoop.now + .milliseconds(milliseconds)
        ) {
            [unowned self] result in
            switch result {
            case .success(let value): outcomes.append("\(word): \(value)")
            case .failure(let failure): outcomes.append("\(word): \(failure)")
            }
        }
    }

    private func receive(_ text: String) throws {
        try channel.writeInbound(ByteBuffer(string: text))
    }

    @Test("the connection sends all commands of one event-loop iteration in one write")
    func pipelines() throws {
        send("A")
        send("B")
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        channel.embeddedEventLoop.run()
        let written = try channel.readOutbound(as: ByteBuffer.self)
        #expect(written == ByteBuffer(string: "*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n"))
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
    }

    @Test("the connection matches replies to commands in their order")
    func matchesReplies() throws {
        send("A")
        send("B")
        try receive(":1\r\n:")
        #expect(outcomes == ["A: integer(1)"])
        try receive("2\r\n")
        #expect(outcomes == ["A: integer(1)", "B: integer(2)"])
    }

    @Test("the connection fails only the command of a late reply, and ignores the reply when it arrives")
    func oneSlowAnswer() throws {
        send("A", within: 100)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(60))
        send("B", within: 100)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(41))
        #expect(outcomes == ["A: timedOut"])
        #expect(reasons.isEmpty)
        // The replies to A, to B and to the probe.
        try receive(":1\r\n:2\r\n+OK\r\n")
        #expect(outcomes == ["A: timedOut", "B: integer(2)"])
        send("C")
        try receive(":3\r\n")
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(outcomes.last == "C: integer(3)")
        #expect(reasons.isEmpty)
    }

    @Test("the connection closes if the probe is late as well, and then fails all pending commands at once")
    func timesOut() throws {
        send("A", within: 100)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(101))
        #expect(outcomes == ["A: timedOut"])
        send("B", within: 300)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(101))
        #expect(outcomes == ["A: timedOut", "B: timedOut"])
        #expect(reasons == ["no reply by the deadline"])
        #expect(!channel.isActive)
        send("C")
        #expect(outcomes.last == "C: closed")
    }

    @Test("the connection closes at once if a vital command is late")
    func vital() throws {
        send("A", within: 1000)
        send("LOGIN", within: 100, closesConnectionOnTimeout: true)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(101))
        #expect(outcomes == ["A: timedOut", "LOGIN: timedOut"])
        #expect(reasons.count == 1)
    }

    @Test("the connection keeps each deadline, even a short one behind a long one that has been answered")
    func shortDeadlineAfterLong() throws {
        send("LOGIN", within: 1000)
        try receive("+OK\r\n")
        connection.probe = { nil }
        send("A", within: 100)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(101))
        #expect(outcomes.last == "A: timedOut")
        #expect(reasons.count == 1)
    }

    @Test("the connection accepts a reply that arrived in time if only this side was late to read it")
    func lateLook() throws {
        send("A", within: 100)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(100))
        try receive(":1\r\n")
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(100))
        #expect(outcomes == ["A: integer(1)"])
        #expect(reasons.isEmpty)
    }

    @Test("the connection stays open while replies arrive in time, however many deadlines pass")
    func outlivesDeadlines() throws {
        for _ in 0..<10 {
            send("A", within: 100)
            channel.embeddedEventLoop.advanceTime(by: .milliseconds(99))
            try receive("+x\r\n")
        }
        channel.embeddedEventLoop.advanceTime(by: .seconds(10))
        #expect(outcomes.count == 10 && reasons.isEmpty)
    }

    @Test("the connection accepts no more pending commands than its bound")
    func boundsTheQueue() {
        for word in ["A", "B", "C", "D"] { send(word) }
        #expect(outcomes == ["D: overloaded"])
    }

    @Test("the connection fails all pending commands when the node closes the connection")
    func failsOnClose() throws {
        send("A")
        _ = try? channel.close().wait()
        #expect(outcomes == ["A: closed"])
        #expect(reasons.count == 1)
    }

    @Test(
        "the connection closes on bytes that are not RESP, and on an unsolicited reply",
        arguments: ["garbage\r\n", ":1\r\n:2\r\n"])
    func endsOnProtocolErrors(wire: String) throws {
        send("A")
        try receive(wire)
        #expect(reasons.count == 1)
        #expect(reasons[0].hasPrefix("protocol error"))
        #expect(outcomes.count == 1)
    }
}
