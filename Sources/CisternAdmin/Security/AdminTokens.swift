/// Who may use the operators' plane: names, and the secret that each shows.
package struct AdminTokens: Sendable, Equatable {
    /// The shortest secret, in bytes.
    package static let minimumBytes = 16

    private let tokens: [(name: String, secret: [UInt8])]

    /// What is wrong with a list of tokens.
    package struct Invalid: Error, CustomStringConvertible {
        package let description: String
    }

    /// Reads a list: a line `name:secret` for each; empty lines and those that begin with `#` say nothing.
    ///
    /// - Throws: ``Invalid`` for the first line that is wrong; no secret is shown.
    package init(_ text: String) throws(Invalid) {
        var tokens: [(name: String, secret: [UInt8])] = []
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            if line.isEmpty || line.hasPrefix("#") { continue }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, 1...64 ~= parts[0].utf8.count, parts[0].utf8.allSatisfy(Self.isVisible) else {
                throw Invalid(
                    description: "line \(number + 1): use NAME:SECRET, the name of 1 to 64 visible characters")
            }
            guard parts[1].utf8.count >= Self.minimumBytes, parts[1].utf8.allSatisfy(Self.isVisible) else {
                throw Invalid(
                    description:
                        "line \(number + 1): the secret of \(parts[0]) needs at least \(Self.minimumBytes) visible characters"
                )
            }
            tokens.append((String(parts[0]), Array(parts[1].utf8)))
        }
        guard !tokens.isEmpty else { throw Invalid(description: "no token is in it: write a line NAME:SECRET") }
        self.tokens = tokens
    }

    private static func isVisible(_ byte: UInt8) -> Bool { 0x21...0x7e ~= byte }

    /// Whose secret this is; nil for nobody's.
    ///
    /// It takes as long for a secret that is nearly right as for one that is all wrong: every byte of every secret is
    /// looked at.
    func name(of secret: String) -> String? {
        let shown = Array(secret.utf8)
        var found: String?
        for (name, secret) in tokens where Self.isSame(shown, secret) { found = name }
        return found
    }

    private static func isSame(_ shown: [UInt8], _ secret: [UInt8]) -> Bool {
        var difference = UInt64(bitPattern: Int64(shown.count ^ secret.count))
        for index in secret.indices {
            difference |= UInt64((index < shown.count ? shown[index] : 0) ^ secret[index])
        }
        return difference == 0
    }

    package static func == (one: AdminTokens, other: AdminTokens) -> Bool {
        one.tokens.elementsEqual(other.tokens) { $0 == $1 }
    }
}
