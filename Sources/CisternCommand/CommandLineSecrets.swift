/// Passwords on the command line, which everybody on the machine can read in `ps`.
enum CommandLineSecrets {
    /// Overwrites user and password of every URL among the process's arguments, where the system keeps them.
    ///
    /// Those that have been read already stay what they are. Between the start of the process and this they could be
    /// seen: the environment or a file is the better place.
    static func hide() {
        // Swift copies the arguments when they are first read; it must not read the stars.
        guard CommandLine.arguments.count > 1 else { return }
        for index in 1..<Int(CommandLine.argc) {
            guard let argument = CommandLine.unsafeArgv[index] else { continue }
            var length = 0
            while argument[length] != 0 { length += 1 }
            let bytes = UnsafeMutableBufferPointer(start: argument, count: length)
            for range in secrets(in: bytes.map { UInt8(bitPattern: $0) }) {
                for position in range { bytes[position] = CChar(bitPattern: UInt8(ascii: "*")) }
            }
        }
    }

    /// Where credentials stand in a text: from each `://` to the last `@` before the next one.
    ///
    /// A comma may part two URLs or stand in a password; so it says nothing here.
    static func secrets(in text: [UInt8]) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start: Int?
        for (position, byte) in text.enumerated() {
            if text[...position].suffix(3).elementsEqual("://".utf8) {
                start = position + 1
            } else if byte == UInt8(ascii: "@"), let start {
                if ranges.last?.lowerBound == start { ranges.removeLast() }
                ranges.append(start..<position)
            }
        }
        return ranges
    }
}
