import Cistern
import CisternProcesses
import CisternTesting
import NIOCore
import Testing

@testable import Perf

@Suite("Load generation")
struct LoadTests {
    @Test("organizations follow Zipf's law, and the same seed gives the same sequence")
    func zipf() {
        let workload = Workload(organizations: 100, skew: 1, turns: 200_000)
        let counts = workload.turns.reduce(into: [Int](repeating: 0, count: 100)) { $0[Int($1)] += 1 }
        let sum = (1...100).reduce(0) { $0 + 1 / Double($1) }
        for rank in [1, 2, 10, 100] {
            let expected = 200_000 / Double(rank) / sum
            #expect(abs(Double(counts[rank - 1]) - expected) < expected.squareRoot() * 5)
        }
        #expect(workload.turns == Workload(organizations: 100, skew: 1, turns: 200_000).turns)
        #expect(workload.turns != Workload(organizations: 100, skew: 1, turns: 200_000, seed: 2).turns)
    }

    @Test("metered organizations come first, with their share of the requests, and names have 36 bytes")
    func metered() {
        let workload = Workload(organizations: 10, skew: 0, metered: 4, meteredShare: 0.25, turns: 40_000)
        #expect(workload.names.count == 14)
        #expect(Set(workload.names).count == 14)
        #expect(workload.names.allSatisfy { $0.count == 36 })
        let share = Double(workload.turns.count { $0 < 4 }) / 40_000
        #expect(abs(share - 0.25) < 0.02)
        #expect(Set(workload.turns).count == 14)
        #expect(workload.withAllMetered().metered == 14)
    }

    @Test("an open loop keeps the scheduled time of each request, however late it is sent")
    func schedule() {
        var schedule = SendSchedule(startingAt: Instant(milliseconds: 1000), perSecond: 100)
        #expect(schedule.due(at: Instant(milliseconds: 999)) == nil)
        #expect(schedule.due(at: Instant(milliseconds: 1000)) == Instant(milliseconds: 1000))
        schedule.sent()
        #expect(schedule.due(at: Instant(milliseconds: 1009)) == nil)
        // After a stall of half a second, the late requests keep their scheduled times.
        #expect(schedule.due(at: Instant(milliseconds: 1500)) == Instant(milliseconds: 1010))
        schedule.sent()
        #expect(schedule.due(at: Instant(milliseconds: 1500)) == Instant(milliseconds: 1020))
    }

    @Test("responses are read one by one, however their bytes are split")
    func answers() throws {
        let wire =
            "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello"
            + "HTTP/1.1 429 Too Many Requests\r\ncontent-length:0\r\n\r\nHTTP/1.0 503 Gone\r\n\r\n"
        var whole = ByteBuffer(string: wire)
        #expect(try statuses(&whole) == [200, 429, 503])
        var pieces = ByteBuffer()
        var found: [Int] = []
        for byte in wire.utf8 {
            pieces.writeInteger(byte)
            found += try statuses(&pieces)
        }
        #expect(found == [200, 429, 503])
        #expect(pieces.readableBytes == 0)
    }

    private func statuses(_ buffer: inout ByteBuffer) throws -> [Int] {
        var found: [Int] = []
        while let status = try ResponseReader.next(in: &buffer) { found.append(status) }
        return found
    }

    @Test(
        "bytes that are not a response cause an error",
        arguments: [
            "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ])
    func refusesGarbage(wire: String) {
        var buffer = ByteBuffer(string: wire)
        #expect(throws: ResponseReader.Malformed.self) { try ResponseReader.next(in: &buffer) }
    }

    @Test("valid URLs are read, and the error for an invalid URL names it")
    func urls() throws {
        #expect(try HTTPTarget(url: "http://127.0.0.1:8080/chat") == HTTPTarget(host: "127.0.0.1", port: 8080))
        #expect(try HTTPTarget(url: "http://[::1]:81/x") == HTTPTarget(host: "::1", port: 81, path: "/x"))
        #expect(try HTTPTarget(url: "http://localhost").description == "http://localhost:80/chat")
        for url in ["https://127.0.0.1/", "127.0.0.1:80", "http://", "http://u@h/", "http://h:0/", "http://h:99999/"] {
            let error = #expect(throws: PerfError.self) { try HTTPTarget(url: url) }
            #expect(error?.description.hasPrefix("--url is '\(url)': use http://HOST:PORT/PATH") == true)
        }
    }
}
