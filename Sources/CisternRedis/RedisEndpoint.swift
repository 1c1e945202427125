/// Where one Redis node is and how to enter it, as a `redis://` or `rediss://` URL says it.
public struct RedisEndpoint: Sendable, Equatable {
    /// The host's name or address.
    public let host: String
    /// The TCP port.
    public let port: Int
    /// The ACL user; nil for the default user.
    public let username: String?
    /// The password; nil where none is needed.
    ///
    /// It appears in no description.
    public let password: String?
    /// The database number.
    public let database: Int
    /// Whether the link is encrypted and the server's certificate and name are checked.
    public let usesTLS: Bool

    /// The node's name in logs, metrics and health: host and port, nothing secret.
    public var name: String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Reads `redis://[[user]:password@]host[:port][/database]`, or the same with `rediss://` for TLS.
    ///
    /// User and password may be percent-encoded. The port is 6379 and the database 0 unless given.
    ///
    /// - Throws: ``InvalidURL``, whose text shows the URL without the password.
    public init(url: String) throws(InvalidURL) {
        let rest: Substring
        if url.hasPrefix("redis://") {
            (usesTLS, rest) = (false, url.dropFirst("redis://".count))
        } else if url.hasPrefix("rediss://") {
            (usesTLS, rest) = (true, url.dropFirst("rediss://".count))
        } else {
            throw InvalidURL(url, "it must start with redis:// or rediss://")
        }
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw InvalidURL(url, "it has no query and no fragment; percent-encode ? and # in a password")
        }
        let path = rest.firstIndex(of: "/").map { rest[$0...].dropFirst() } ?? ""
        let authority = rest.prefix { $0 != "/" }
        guard let database = path.isEmpty ? 0 : Int(path), 0...1_000_000 ~= database, !path.hasPrefix("+") else {
            throw InvalidURL(url, "after the host comes / and a database number, such as /0")
        }
        self.database = database
        (username, password) = try Self.credentials(in: authority, of: url)
        let address = authority.lastIndex(of: "@").map { authority[$0...].dropFirst() } ?? authority
        (host, port) = try Self.hostAndPort(in: address, of: url)
    }

    private static func credentials(
        in authority: Substring, of url: String
    ) throws(InvalidURL) -> (username: String?, password: String?) {
        guard let at = authority.lastIndex(of: "@") else { return (nil, nil) }
        let parts = authority[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let user = parts.first.flatMap({ String(percentEncoded: $0) }),
            let password = parts.count > 1 ? String(percentEncoded: parts[1]) : ""
        else { throw InvalidURL(url, "user or password has a % that is not followed by two hexadecimal digits") }
        guard !password.isEmpty else {
            throw InvalidURL(url, "before the @ comes user:password, or :password for the default user")
        }
        return (user.isEmpty ? nil : user, password)
    }

    private static func hostAndPort(
        in address: Substring, of url: String
    ) throws(InvalidURL) -> (host: String, port: Int) {
        var host = address
        var port: Substring?
        if address.hasPrefix("[") {
            guard let end = address.firstIndex(of: "]") else { throw InvalidURL(url, "the [ of the address has no ]") }
            host = address[..<end].dropFirst()
            let after = address[end...].dropFirst()
            guard after.isEmpty || after.hasPrefix(":") else { throw InvalidURL(url, "after the ] comes :port") }
            port = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = address.firstIndex(of: ":") {
            host = address[..<colon]
            port = address[colon...].dropFirst()
        }
        guard !host.isEmpty else { throw InvalidURL(url, "it names no host") }
        guard let port else { return (String(host), 6379) }
        guard port.allSatisfy(\.isASCIIDigit), let number = Int(port), 1...65535 ~= number else {
            throw InvalidURL(url, "the port must be a number from 1 to 65535")
        }
        return (String(host), number)
    }

    /// A URL that names no Redis node.
    public struct InvalidURL: Error, Equatable, CustomStringConvertible {
        /// What is wrong, with the URL as it was given less its password.
        public let description: String

        init(_ url: String, _ remedy: String) {
            description = "'\(Self.redacted(url))' is not a Redis URL: \(remedy); for example redis://127.0.0.1:6379/0"
        }

        private static func redacted(_ url: String) -> String {
            guard let at = url.lastIndex(of: "@") else { return url }
            let scheme = url.range(of: "://")?.upperBound ?? url.startIndex
            return url[..<min(scheme, at)] + "***" + url[at...]
        }
    }
}

// Whatever prints a value that contains an endpoint (a debug log, a failed test) must not print the password.
extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL without user and password.
    public var description: String { "\(usesTLS ? "rediss" : "redis")://\(name)/\(database)" }
    /// The same as the description.
    public var debugDescription: String { description }
    /// The description and nothing else.
    public var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { "0"..."9" ~= self }
}

extension String {
    /// Decodes %XX; nil where a % is not followed by two hexadecimal digits or the bytes are not UTF-8.
    fileprivate init?(percentEncoded text: Substring) {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap({ Character(UnicodeScalar($0)).hexDigitValue }),
                let low = rest.popFirst().flatMap({ Character(UnicodeScalar($0)).hexDigitValue })
            else { return nil }
            bytes.append(UInt8(high * 16 + low))
        }
        guard let decoded = String(validating: bytes, as: UTF8.self) else { return nil }
        self = decoded
    }

    /// The stretch that `text` takes up where it first occurs.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
