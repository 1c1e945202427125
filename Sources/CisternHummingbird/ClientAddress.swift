internal import Cistern
internal import NIOCore

/// Finds the address of the client behind trusted proxies.
struct ClientAddress: Sendable {
    private let trusted: [Network]
    private let ipv6PrefixLength: Int

    init(trustedProxies: [String], ipv6PrefixLength: Int) throws(InvalidSetting) {
        guard 1...128 ~= ipv6PrefixLength else {
            throw InvalidSetting(name: "ipv6PrefixLength", value: "\(ipv6PrefixLength)", remedy: "use 1 to 128 bits")
        }
        self.ipv6PrefixLength = ipv6PrefixLength
        var trusted: [Network] = []
        for text in trustedProxies {
            guard let network = Network(text) else {
                throw InvalidSetting(
                    name: "trustedProxies", value: text,
                    remedy: "use an address or a network, such as 10.0.0.0/8 or fd00::/8")
            }
            trusted.append(network)
        }
        self.trusted = trusted
    }

    /// The client's key: an IPv4 address, or the network of an IPv6 address; nil if the peer has no IP address.
    ///
    /// - Parameters:
    ///   - peer: the other end of the connection.
    ///   - forwardedFor: the values of all `X-Forwarded-For` fields, in order.
    func key(peer: SocketAddress?, forwardedFor: [String]) -> String? {
        guard var client = peer.flatMap(IPAddress.init) else { return nil }
        guard !trusted.isEmpty else { return text(of: client) }
        var hops = forwardedFor.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) }
        while trusted.contains(where: { $0.contains(client) }), let hop = hops.popLast() {
            // An unreadable entry: the proxy that sent it is the last known address.
            guard let address = IPAddress(hop) else { break }
            client = address
        }
        return text(of: client)
    }

    private func text(of address: IPAddress) -> String {
        guard !address.isIPv4, ipv6PrefixLength < 128 else { return "\(address)" }
        return "\(address.masked(to: ipv6PrefixLength))/\(ipv6PrefixLength)"
    }
}

/// An IPv4 or IPv6 address; an IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
struct IPAddress: Equatable, Sendable, CustomStringConvertible {
    /// The bits of the address, in the low 32 bits for IPv4.
    let bits: UInt128
    let isIPv4: Bool

    private init(bits: UInt128, isIPv4: Bool) {
        // ::ffff:0:0/96 are IPv4 addresses (RFC 4291, section 2.5.5.2).
        let isMapped = !isIPv4 && bits >> 32 == 0xffff
        self.bits = isMapped ? bits & 0xffff_ffff : bits
        self.isIPv4 = isIPv4 || isMapped
    }

    init?(_ address: SocketAddress) {
        // After family and port, a socket address has the four bytes of an IPv4 address, or the flow label and the
        // sixteen bytes of an IPv6 address (RFC 3493, section 3.3).
        switch address {
        case .v4(let address): self.init(bits: Self.bits(of: address.address, at: 4..<8), isIPv4: true)
        case .v6(let address): self.init(bits: Self.bits(of: address.address, at: 8..<24), isIPv4: false)
        case .unixDomainSocket: return nil
        }
    }

    private static func bits<Address>(of address: Address, at range: Range<Int>) -> UInt128 {
        withUnsafeBytes(of: address) { bytes in range.reduce(0) { $0 << 8 | UInt128(bytes[$1]) } }
    }

    /// Parses an address as proxies write it: perhaps with spaces, brackets, a zone or a port.
    init?(_ text: some StringProtocol) {
        var text = Substring(text)
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        if text.first == "[", let end = text.firstIndex(of: "]") {
            text = text[..<end].dropFirst()
        } else if text.contains("."), text.count(where: { $0 == ":" }) == 1 {
            text = text.prefix { $0 != ":" }
        }
        let name = String(text.prefix { $0 != "%" })
        guard let address = try? SocketAddress(ipAddress: name, port: 0) else { return nil }
        self.init(address)
    }

    /// The address with all bits after the first `length` cleared.
    func masked(to length: Int) -> IPAddress {
        let mask = ~(UInt128.max >> UInt128(length))
        return IPAddress(bits: isIPv4 ? bits & (mask >> 96) : bits & mask, isIPv4: isIPv4)
    }

    var description: String {
        let count = isIPv4 ? 4 : 16
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: bits >> UInt128(8 * (count - 1 - $0))) }
        let address = try? SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0)
        return address?.ipAddress ?? ""
    }
}

/// An address or a network in CIDR notation.
struct Network: Sendable {
    private let start: IPAddress
    private let length: Int

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let address = parts.first.flatMap({ IPAddress($0) }), parts.count <= 2 else { return nil }
        let most = address.isIPv4 ? 32 : 128
        guard let length = parts.count == 1 ? most : Int(parts[1]), 0...most ~= length else { return nil }
        self.length = length
        start = address.masked(to: length)
    }

    func contains(_ address: IPAddress) -> Bool {
        address.isIPv4 == start.isIPv4 && address.masked(to: length) == start
    }
}
