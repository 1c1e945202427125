import CisternProcesses
import NIOCore

@testable import CisternRedis

/// A connection to a Redis server that sends many commands at once and then reads their replies.
final class PipelinedRedis {
    private let socket: Socket
    private var reader: RESPReader

    init(port: Int) throws {
        socket = try Socket(port: port)
        reader = try RESPReader()
    }

    /// Sends the commands, and returns the reply to each.
    func send(_ commands: RESPCommandBuffer, count: Int) throws -> [RESPReply] {
        try socket.send(commands.bytes)
        var replies: [RESPReply] = []
        while replies.count < count {
            if let reply = try reader.nextReply() {
                replies.append(reply)
            } else {
                try reader.feed(ByteBuffer(bytes: socket.receive()))
            }
        }
        return replies
    }
}
