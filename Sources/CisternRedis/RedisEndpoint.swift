/// The address and credentials of one Redis node, parsed from a `redis://` or `rediss://` URL.
public struct RedisEndpoint: Sendable, Equatable {
    /// The host name or IP address.
    public let host: String
    /// The TCP port.
    public let port: Int
    /// The ACL user; nil for the default user.
    public private(set) var username: String?
    /// The password; nil for none.
    ///
    /// No description contains it.
    public private(set) var password: String?
    /// The database number.
    public let database: Int
    /// Whether the connection uses TLS, which verifies the server's certificate and name.
    public let usesTLS: Bool
    /// The node's relative weight on a ring, 1 to 100.
    public let weight: Int
    /// The node's name in logs, metrics, health reports and on a ring; it contains no secret.
    ///
    /// It is the name in the URL, or else host, port and database. On a ring the name determines which keys the node
    /// stores, so a node that moves to another address should keep its name.
    public let name: String
    /// Whether the name was given in the URL.
    let hasGivenName: Bool

    /// Parses `redis://[[user]:password@]host[:port][/database][?weight=2&name=a]`, or `rediss://…` for TLS.
    ///
    /// User and password may be percent-encoded. Defaults: port 6379, database 0, weight 1.
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
        // A ? before the @ belongs to the password and must be percent-encoded.
        let query = rest.firstIndex(of: "?").map { rest[$0...].dropFirst() }
        guard !rest.contains("#"), query?.contains("@") != true else {
            throw InvalidURL(url, "percent-encode # and ? in a password as %23 and %3F")
        }
        let options = try Self.options(in: query ?? "", of: url)
        weight = options.weight
        let location = rest.prefix { $0 != "?" }
        let path = location.firstIndex(of: "/").map { location[$0...].dropFirst() } ?? ""
        let authority = location.prefix { $0 != "/" }
        guard let database = path.isEmpty ? 0 : Int(path), 0...1_000_000 ~= database, !path.hasPrefix("+") else {
            throw InvalidURL(url, "the path must be a database number, such as /0")
        }
        self.database = database
        (username, password) = try Self.credentials(in: authority, of: url)
        let hostAndPort = authority.lastIndex(of: "@").map { authority[$0...].dropFirst() } ?? authority
        (host, port) = try Self.hostAndPort(in: hostAndPort, of: url)
        let address = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        name = options.name ?? (database == 0 ? address : "\(address)/\(database)")
        hasGivenName = options.name != nil
    }

    /// The URLs in a comma-separated list.
    package static func urls(in text: String) -> [String] {
        // A comma separates two URLs only if a URL follows it; otherwise it may be part of a password.
        text.replacing(/,\s*(?=rediss?:\/\/)/, with: "\n").split(separator: "\n").map { url in
            String(url.drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
        }
    }

    /// A cluster node at an address that another node reported; it uses the seed's credentials and encryption.
    init(_ seed: RedisEndpoint, at address: NodeAddress) {
        (host, port) = (address.host, address.port)
        (username, password, usesTLS) = (seed.username, seed.password, seed.usesTLS)
        (database, weight, hasGivenName) = (0, 1, false)
        name = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The same node with the given user and password, unless the URL contains a password.
    package func withCredentials(by username: String?, with password: String?) -> RedisEndpoint {
        var endpoint = self
        if self.password == nil { (endpoint.username, endpoint.password) = (username, password) }
        return endpoint
    }

    /// Whether another endpoint has the same address, credentials, encryption and name; weights may differ.
    func isSameNode(as other: RedisEndpoint) -> Bool {
        (host, port, username, password) == (other.host, other.port, other.username, other.password)
            && (database, usesTLS, name) == (other.database, other.usesTLS, other.name)
    }

    var address: NodeAddress { NodeAddress(host: host, port: port) }

    /// Whether another endpoint has the same user, password and encryption.
    func hasSameCredentials(_ other: RedisEndpoint) -> Bool {
        (username, password, usesTLS) == (other.username, other.password, other.usesTLS)
    }

    private static func options(
        in query: Substring, of url: String
    ) throws(InvalidURL) -> (weight: Int, name: String?) {
        var weight = 1
        var name: String?
        for option in query.split(separator: "&") {
            let parts = option.split(separator: "=", maxSplits: 1)
            let value = parts.count == 2 ? parts[1] : ""
            switch parts.first {
            case "weight":
                guard value.allSatisfy(\.isASCIIDigit), let number = Int(value), 1...100 ~= number else {
                    throw InvalidURL(url, "the weight must be a whole number from 1 to 100")
                }
                weight = number
            case "name":
                guard 1...128 ~= value.count, value.allSatisfy(\.isNameCharacter) else {
                    throw InvalidURL(url, "the name must be 1 to 128 characters of A-Z a-z 0-9 . _ : - /")
                }
                name = String(value)
            default: throw InvalidURL(url, "the query may contain weight=NUMBER and name=NAME, nothing else")
            }
        }
        return (weight, name)
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
            throw InvalidURL(url, "write user:password before the @, or :password for the default user")
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
            guard after.isEmpty || after.hasPrefix(":") else { throw InvalidURL(url, "only :port may follow the ]") }
            port = after.isEmpty ? nil : after.dropFirst()
        } else if let colon = address.firstIndex(of: ":") {
            host = address[..<colon]
            port = address[colon...].dropFirst()
        }
        guard !host.isEmpty, !host.contains(where: { $0 == "," || $0.isWhitespace }) else {
            throw InvalidURL(url, "it has no host")
        }
        guard let port else { return (String(host), 6379) }
        guard port.allSatisfy(\.isASCIIDigit), let number = Int(port), 1...65535 ~= number else {
            throw InvalidURL(url, "the port must be a number from 1 to 65535")
        }
        return (String(host), number)
    }

    /// The URL is not a valid Redis URL.
    public struct InvalidURL: Error, Equatable, CustomStringConvertible {
        /// What is wrong, with the given URL shown without its password.
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

// Printing any value that contains an endpoint (a debug log, a failed test) must not reveal the password.
extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL without user and password.
    public var description: String {
        let address = host.contains(":") ? "[\(host)]" : host
        return "\(usesTLS ? "rediss" : "redis")://\(address):\(port)/\(database)"
    }
    /// The same text as ``description``.
    public var debugDescription: String { description }
    /// A mirror that exposes only ``description``.
    public var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { "0"..."9" ~= self }
    fileprivate var isNameCharacter: Bool { isASCII && (isLetter || isNumber || "._:-/".contains(self)) }
}

extension String {
    /// Decodes %XX; nil if a % is not followed by two hexadecimal digits or the bytes are not UTF-8.
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

    /// The range of the first occurrence of `text`.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
