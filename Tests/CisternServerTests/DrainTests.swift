import CisternProcesses
import CisternTesting
import Foundation
import Synchronization
import Testing

/// A server that stops loses no request of clients that react to its signals.
@Suite("Draining")
struct DrainTests {
    @Test("during drainDelay, connections are accepted, health is 503, and each response closes its connection")
    func delay() async throws {
        let server = try await CisternProcess(["--drain-delay", "5s"])
        let old = try server.connect()
        #expect(try old.exchange(HTTPRequestText.chat("org-1"))["Connection"] == nil)
        server.process.signal(SIGTERM)
        try await eventually("health to be 503") {
            try server.exchange(HTTPRequestText.plain("GET", "/health")).status == 503
        }
        let health = try server.exchange(HTTPRequestText.plain("GET", "/health"))
        #expect(health.json["status"] as? String == "draining")
        try await eventually("health on the admin port to be 503, too") {
            try server.admin.get("/v1/health").status == 503
        }
        #expect(try old.exchange(HTTPRequestText.chat("org-1"))["Connection"] == "close")
        let new = try server.exchange(HTTPRequestText.chat("org-1"))
        #expect(new.status == 200)
        #expect(new["Connection"] == "close")
        #expect(try await server.process.exitCode() == 0)
    }

    @Test(
        "clients that react to Connection: close or to the end of the stream lose no request",
        arguments: ["0s", "1s"], [0, 3])
    func nothingIsLost(delay: String, slowness: Int) async throws {
        let server = try await CisternProcess(["--drain-delay", delay, "--capacity", "1000000000"])
        let (tally, port) = (ClientTally(), server.port)
        // Each client has its own thread: blocked clients would starve the thread pool of the tests.
        for number in 0..<24 {
            Thread.detachNewThread {
                Self.ask(port: port, pauseMicroseconds: UInt32(number % 4 * slowness * 200), tally)
                tally.end()
            }
        }
        try await eventually("traffic") { tally.answered > 1000 }
        server.process.signal(SIGTERM)
        try await eventually("all clients to end") { tally.ended == 24 }
        #expect(tally.lost == [])
        #expect(try await server.process.exitCode() == 0)
    }

    /// Sends requests on one connection after another until no more connections are accepted.
    private static func ask(port: Int, pauseMicroseconds: UInt32, _ tally: ClientTally) {
        while let connection = try? Socket(port: port) {
            while !connection.isClosedByPeer {
                do {
                    let reply = try connection.exchange(HTTPRequestText.chat("org-1"))
                    tally.add(reply.status == 200 ? nil : "\(reply.status)")
                    if reply["Connection"] == "close" { break }
                } catch {
                    tally.add("\(error)")
                    return
                }
                if pauseMicroseconds > 0 {
                    var pause = timespec(tv_sec: 0, tv_nsec: Int(pauseMicroseconds) * 1000)
                    nanosleep(&pause, nil)
                }
            }
        }
    }
}

/// The numbers of responses, lost requests and finished clients.
private final class ClientTally: Sendable {
    private let counts = Mutex<(answered: Int, lost: [String], ended: Int)>((0, [], 0))

    func add(_ loss: String?) {
        counts.withLock { counts in
            counts.answered += 1
            if let loss { counts.lost.append(loss) }
        }
    }

    func end() { counts.withLock { $0.ended += 1 } }

    var ended: Int { counts.withLock { $0.ended } }
    var answered: Int { counts.withLock { $0.answered } }
    var lost: [String] { counts.withLock { $0.lost } }
}
