import Cistern
import CisternProcesses
import CisternTesting
import NIOCore
import NIOEmbedded
import Testing

@testable import CisternHTTP

/// Every state of a connection has a deadline, even while the client reads nothing.
@Suite("Deadlines of a connection")
struct DeadlineTests {
    private static let settings: HTTPSettings = {
        var settings = HTTPSettings()
        settings.requestTimeoutMilliseconds = 2000
        settings.idleTimeoutMilliseconds = 3000
        return settings
    }()
    private static let head =
        "POST /chat HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\n"
        + "Content-Type: application/json\r\n"

    @Test(
        "each state ends within its timeouts, whether or not the client reads its responses",
        arguments: [
            "", "\r", "G", "GET /health HTTP/1.1\r\nHost:", head + "Content-Length: 9\r\n\r\n{",
            head + "Transfer-Encoding: chunked\r\n\r\n", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
            head + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX:",
            head + "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: h\r\nx-org-id: o\r\nx-user-id: u\r\nContent-Length: 9\r\n\r\n1",
            "nonsense\r\n\r\n", HTTPRequestText.chat("o", close: true), HTTPRequestText.chat("o"),
        ], [true, false])
    func everyState(last: String, takesAnswers: Bool) throws {
        for isInputClosed in [false, true] {
            let connection = try EmbeddedConnection(settings: Self.settings)
            let client = takesAnswers ? nil : try StalledClient(of: connection)
            for text in [HTTPRequestText.chat("o"), HTTPRequestText.chat("o"), last] { try connection.send(text) }
            if isInputClosed { connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
            let isOpen = connection.channel.isActive
            #expect(isOpen || isInputClosed || takesAnswers)
            // The request timeout, the idle timeout for its response, and a second for the client to close.
            connection.channel.embeddedEventLoop.advanceTime(by: .seconds(2 + 3 + 1))
            #expect(!connection.channel.isActive, "\(last.debugDescription), hung up: \(isInputClosed)")
            withExtendedLifetime(client) {}
        }
    }

    @Test("a client that never reads and stops in the middle of a request is disconnected")
    func neverReads() throws {
        let connection = try EmbeddedConnection(settings: Self.settings)
        let client = try StalledClient(of: connection)
        try connection.send(String(repeating: HTTPRequestText.chat("o"), count: 2000) + "G")
        connection.channel.embeddedEventLoop.advanceTime(by: .seconds(6))
        #expect(!connection.channel.isActive)
        withExtendedLifetime(client) {}
    }

    @Test("a connection is closed after 60 s if its request is never decided")
    func decidesForEver() throws {
        let connection = try EmbeddedConnection(decider: NeverDecides(), settings: Self.settings)
        try connection.send(HTTPRequestText.chat("o"))
        connection.channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(connection.channel.isActive)
        connection.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(!connection.channel.isActive)
    }

    @Test("a short idle timeout applies even if the request timeout is longer")
    func shortIdle() throws {
        var settings = HTTPSettings()
        settings.requestTimeoutMilliseconds = 30_000
        settings.idleTimeoutMilliseconds = 1000
        let connection = try EmbeddedConnection(settings: settings)
        #expect(try connection.exchange(HTTPRequestText.chat("o")).status == 200)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(2000))
        #expect(!connection.channel.isActive)
    }

    @Test("a response closes a connection at its maximum age, give or take a tenth")
    func age() throws {
        var settings = HTTPSettings()
        settings.maximumConnectionAgeMilliseconds = 10_000
        var ages: Set<Int> = []
        for _ in 0..<20 {
            let connection = try EmbeddedConnection(settings: settings)
            var age = 0
            while try connection.exchange(HTTPRequestText.chat("o"))["Connection"] == nil {
                connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(100))
                age += 100
            }
            #expect(9000...11_000 ~= age)
            ages.insert(age)
            #expect(connection.isClosing)
        }
        #expect(ages.count > 1)
    }

    @Test("a draining server sends Connection: close with the next response of each connection, and closes it")
    func draining() throws {
        let connection = try EmbeddedConnection()
        #expect(try connection.exchange(HTTPRequestText.chat("o"))["Connection"] == nil)
        connection.loop.beginDraining()
        #expect(try connection.exchange(HTTPRequestText.chat("o"))["Connection"] == "close")
        #expect(connection.isClosing)
    }
}

/// A decider that never decides, in violation of its contract.
private struct NeverDecides: Decider {
    func decide(
        _ organization: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        nil
    }
}
