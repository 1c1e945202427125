/// Hides passwords on the command line, which every user of the machine can read in `ps`.
enum CommandLineSecrets {
    /// Overwrites user and password of every URL in the process's argument memory.
    ///
    /// Arguments that Swift has already copied keep their values. The credentials are visible between the start of the
    /// process and this call, so the environment or a file is safer.
    static func hide() {
        // Makes Swift copy the arguments before they are overwritten.
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

    /// The ranges of credentials in a text: from each `://` to the last `@` before the next `://`.
    ///
    /// A comma does not end a range, because it may separate two URLs or be part of a password.
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
