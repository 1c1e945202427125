import Cistern
import CisternProcesses
import CisternTestSupport
import CisternTesting
import Testing

@testable import CisternHTTP

/// The reference's scenarios, request by request, on a virtual clock.
@Suite("The reference's scenarios over HTTP")
struct ScenarioTests {
    private let connection: EmbeddedConnection

    init() throws {
        connection = try EmbeddedConnection()
    }

    /// Sends a number of requests at once, and returns how many got 200.
    private func passing(_ count: Int, of organization: String = "org-1") throws -> Int {
        try connection.send(String(repeating: HTTPRequestText.chat(organization), count: count))
        let replies = try connection.replies()
        #expect(replies.count == count)
        #expect(replies.allSatisfy { $0.status == 200 || $0.status == 429 })
        return replies.count { $0.status == 200 }
    }

    @Test("burst: 100 requests at once pass, the 101st is denied, and then ten pass each second")
    func burst() throws {
        #expect(try passing(100) == 100)
        #expect(try passing(1) == 0)
        connection.clock.advance(milliseconds: 1000)
        #expect(try passing(15) == 10)
        connection.clock.advance(milliseconds: 1000)
        #expect(try passing(15) == 10)
    }

    @Test("steady: five requests a second leave 95 tokens, and the bucket is full a second later")
    func steady() throws {
        for _ in 0..<10 {
            #expect(try passing(4) == 4)
            #expect(try connection.exchange(HTTPRequestText.chat("org-1"))["X-RateLimit-Remaining"] == "95")
            connection.clock.advance(milliseconds: 1000)
        }
    }

    @Test("idle recovery: ten idle seconds after a burst, a whole burst passes again")
    func idleRecovery() throws {
        #expect(try passing(100) == 100)
        connection.clock.advance(milliseconds: 10_000)
        #expect(try passing(101) == 100)
    }

    @Test("users of one organization share its bucket, and another organization's is untouched")
    func multiTenancy() throws {
        func request(_ organization: String, _ user: String) -> String {
            HTTPRequestText.plain("POST", "/chat", ["x-org-id: \(organization)", "x-user-id: \(user)"])
        }
        for (user, count, left) in [("A", 50, "50"), ("B", 30, "20"), ("C", 20, "0")] {
            try connection.send(String(repeating: request("acme", user), count: count))
            #expect(try connection.replies().last?["X-RateLimit-Remaining"] == left)
        }
        #expect(try connection.exchange(request("acme", "D")).status == 429)
        try connection.send(String(repeating: request("startup", "E"), count: 10))
        #expect(try connection.replies().last?["X-RateLimit-Remaining"] == "90")
    }
}
