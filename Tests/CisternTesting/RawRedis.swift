import CisternProcesses
import CisternSupport

/// A blocking connection to a Redis server that keeps replies as bytes.
package final class RawRedis {
    /// A reply.
    package indirect enum Value: Equatable {
        case bytes([UInt8])
        case integer(Int64)
        case array([Value])
        case null
    }

    private let socket: Socket
    private var received: [UInt8] = []
    private var position = 0

    package init(port: Int) throws {
        socket = try Socket(port: port)
    }

    /// Sends one command and returns its reply; an error reply is thrown.
    @discardableResult
    package func send(_ words: String...) throws -> Value {
        var command = Array("*\(words.count)\r\n".utf8)
        for word in words { command += Array("$\(word.utf8.count)\r\n\(word)\r\n".utf8) }
        try socket.send(command)
        return try value()
    }

    private func value() throws -> Value {
        let line = try line()
        let number = Int64(line.dropFirst()) ?? 0
        switch line.first {
        case "+": return .bytes(Array(line.dropFirst().utf8))
        case ":": return .integer(number)
        case "$" where number < 0, "*" where number < 0: return .null
        case "$":
            let bytes = try take(Int(number) + 2)
            return .bytes(Array(bytes.dropLast(2)))
        case "*": return .array(try (0..<number).map { _ in try value() })
        default: throw Socket.Failure(description: line)
        }
    }

    private func line() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let byte = try take(1)[0]
            if byte == UInt8(ascii: "\n") { return String(decoding: bytes.dropLast(), as: UTF8.self) }
            bytes.append(byte)
        }
    }

    private func take(_ count: Int) throws -> [UInt8] {
        while received.count - position < count {
            let more = try socket.receive()
            guard !more.isEmpty else { throw Socket.Failure(description: "the server closed the connection") }
            received.removeFirst(position)
            position = 0
            received += more
        }
        defer { position += count }
        return Array(received[position..<position + count])
    }
}

extension RawRedis {
    /// A lessee's record in the leases hash of a bucket.
    package struct LeaseRecord {
        package let sequence: UInt64
        package let tokens: Int
        package let endsMilliseconds: Int64
    }

    /// The records in a leases hash, by lessee ID, expired ones included.
    package func leaseRecords(_ redisKey: String) throws -> [String: LeaseRecord] {
        guard case .array(let words) = try send("HGETALL", redisKey) else { return [:] }
        var records: [String: LeaseRecord] = [:]
        for index in stride(from: 0, to: words.count, by: 2) {
            guard case .bytes(let name) = words[index], case .bytes(let value) = words[index + 1], !name.isEmpty,
                let numbers = value.packedNumbers, numbers.count == 10
            else { continue }
            records[String(decoding: name, as: UTF8.self)] = LeaseRecord(
                sequence: UInt64(numbers[0]), tokens: Int(numbers[1]), endsMilliseconds: Int64(numbers[2]))
        }
        return records
    }
}
