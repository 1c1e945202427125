internal import CHiredis
internal import NIOCore

/// Writes commands of the Redis protocol with hiredis' formatter.
enum RESPCommand {
    /// Appends one command, its name first, to `buffer`.
    static func write(_ arguments: [[UInt8]], to buffer: inout ByteBuffer) {
        // hiredis takes parallel arrays of addresses and lengths, so the arguments are laid end to end first.
        let bytes = arguments.flatMap { $0 }
        let lengths = arguments.map(\.count)
        bytes.withUnsafeBytes { raw in
            let start = raw.bindMemory(to: CChar.self).baseAddress
            var addresses: [UnsafePointer<CChar>?] = []
            var offset = 0
            for length in lengths {
                addresses.append(start.map { $0 + offset })
                offset += length
            }
            var formatted: UnsafeMutablePointer<CChar>?
            let count = redisFormatCommandArgv(&formatted, Int32(lengths.count), &addresses, lengths)
            precondition(count > 0, "hiredis cannot format a command: out of memory")
            buffer.writeBytes(UnsafeRawBufferPointer(start: formatted, count: Int(count)))
            redisFreeCommand(formatted)
        }
    }
}
