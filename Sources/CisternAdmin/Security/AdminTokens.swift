/// The tokens that the admin interface accepts: names with their secrets.
package struct AdminTokens: Sendable, Equatable {
    /// The minimum length of a secret, in bytes.
    package static let minimumBytes = 16

    private let tokens: [(name: String, secret: [UInt8])]

    /// An error in a list of tokens.
    package struct Invalid: Error, CustomStringConvertible {
        package let description: String
    }

    /// Parses a list with one `name:secret` per line; empty lines and lines that begin with `#` are ignored.
    ///
    /// - Throws: ``Invalid`` for the first invalid line; its description contains no secret.
    package init(_ text: String) throws(Invalid) {
        var tokens: [(name: String, secret: [UInt8])] = []
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            if line.isEmpty || line.hasPrefix("#") { continue }
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, 1...64 ~= parts[0].utf8.count, parts[0].utf8.allSatisfy(Self.isVisible) else {
                throw Invalid(
                    description: "line \(number + 1): use NAME:SECRET with a name of 1 to 64 visible characters")
            }
            guard parts[1].utf8.count >= Self.minimumBytes, parts[1].utf8.allSatisfy(Self.isVisible) else {
                throw Invalid(
                    description:
                        "line \(number + 1): the secret of \(parts[0]) needs at least \(Self.minimumBytes) "
                        + "visible characters"
                )
            }
            tokens.append((String(parts[0]), Array(parts[1].utf8)))
        }
        guard !tokens.isEmpty else { throw Invalid(description: "it has no token: add a line NAME:SECRET") }
        self.tokens = tokens
    }

    private static func isVisible(_ byte: UInt8) -> Bool { 0x21...0x7e ~= byte }

    /// The name of the token with this secret; nil if there is none.
    ///
    /// Compares every byte of every secret, so that the time taken does not reveal how much of a guess is right.
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
