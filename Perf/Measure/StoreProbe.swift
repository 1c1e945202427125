internal import CisternProcesses
internal import Foundation

/// Reads how often commands have been called, from the statistics of Redis servers.
///
/// Its connections stay open, so that a reading needs no new process and takes almost no time.
final class StoreProbe {
    private let servers: [RedisServer]
    private let connections: [Socket]

    init(_ servers: [RedisServer]) throws {
        self.servers = servers
        connections = try servers.map { try Socket(port: $0.port) }
    }

    var processIdentifiers: [Int32] { servers.map(\.process.processIdentifier) }

    /// Returns the number of calls of these commands, on all servers together.
    func calls(of commands: [String]) throws -> Int {
        try connections.reduce(0) { sum, connection in
            let counts = Self.counts(in: try Self.info(connection))
            return sum + commands.reduce(0) { $0 + (counts[$1] ?? 0) }
        }
    }

    private static func info(_ connection: Socket) throws -> String {
        try connection.send("INFO commandstats\r\n")
        var bytes: [UInt8] = []
        while true {
            let more = try connection.receive()
            guard !more.isEmpty else { throw Socket.Failure(description: "redis-server has closed the connection") }
            bytes += more
            let text = String(decoding: bytes, as: UTF8.self)
            guard text.hasPrefix("$"), let end = text.firstRange(of: "\r\n"),
                let length = Int(text[..<end.lowerBound].dropFirst())
            else { continue }
            if text[end.upperBound...].utf8.count >= length + 2 { return text }
        }
    }

    /// Returns the calls by command in a reply to `INFO commandstats`.
    static func counts(in text: String) -> [String: Int] {
        var counts: [String: Int] = [:]
        for match in text.matches(of: /cmdstat_(\S+?):calls=(\d+)/) { counts[String(match.1)] = Int(match.2) }
        return counts
    }
}
