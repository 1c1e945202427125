import CisternProcesses
import CisternTesting
import Foundation

/// A client of a server's admin interface.
struct AdminClient {
    let port: Int
    /// The token to send; nil for none.
    var token: String?

    /// Sends one request on a new connection.
    ///
    /// - Parameter headers: further header lines.
    func send(
        _ method: String, _ path: String, json: String? = nil, headers: [String] = [], host: String = "localhost"
    ) throws -> HTTPReply {
        var lines = ["\(method) \(path) HTTP/1.1", "Host: \(host)"] + headers
        if let token { lines.append("Authorization: Bearer \(token)") }
        if let json { lines += ["Content-Type: application/json", "Content-Length: \(json.utf8.count)"] }
        let connection = try Socket(port: port)
        return try connection.exchange(lines.joined(separator: "\r\n") + "\r\n\r\n" + (json ?? ""))
    }

    func get(_ path: String) throws -> HTTPReply {
        try send("GET", path)
    }

    /// The named figure of the latest sample.
    func sample(_ name: String) throws -> Double? {
        try sample()[name]
    }

    /// The figures of the latest sample.
    func sample() throws -> [String: Double] {
        let sample = try get("/v1/status").json["sample"] as? [String: Any] ?? [:]
        return sample.compactMapValues { $0 as? Double }
    }

    /// Overrides an organization's limit.
    func override(_ organization: String, capacity: Int, refill: Double, more: String = "") throws -> HTTPReply {
        try send(
            "PUT", "/v1/organizations/\(organization)/limit",
            json: #"{"capacity":\#(capacity),"refillPerSecond":\#(refill)\#(more)}"#)
    }
}
