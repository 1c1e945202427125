public import Cistern
internal import HTTPTypes
public import Hummingbird

/// Names the bucket of a request.
public struct RequestKey<Context: RequestContext>: Sendable {
    /// What the key is, for messages about requests without it, such as `header x-org-id`.
    let name: String
    let value: @Sendable (Request, Context) -> String?

    /// A key computed by a closure; nil or an empty string for a request without a key.
    ///
    /// - Parameters:
    ///   - name: what the key is, for the message to a request without it.
    ///   - value: computes the key. It must not contain more than `RateLimiter.maximumKeyBytes` bytes.
    public init(_ name: String = "the rate limit key", _ value: @escaping @Sendable (Request, Context) -> String?) {
        self.name = name
        self.value = value
    }

    /// The value of a header field, such as an organization that a gateway has authenticated.
    ///
    /// Clients that can set the field themselves can choose their bucket. A request with several such fields has no
    /// key.
    ///
    /// - Parameter name: the name of the field, such as `x-org-id`. A request never has a field whose name is not valid
    ///   in HTTP.
    public static func header(_ name: String) -> RequestKey {
        let field = HTTPField.Name(name)
        return RequestKey("header \(name)") { request, _ in
            guard let field else { return nil }
            let value = request.headers[field]
            // A client may have sent a second field beside the gateway's; both values joined would be a new key.
            guard value?.contains(",") == true else { return value }
            return request.headers[values: field].count == 1 ? value : nil
        }
    }

    /// The path of the request, without the query and without empty components, which routers ignore as well.
    ///
    /// Clients choose paths freely: set `LimiterSettings.maximumNewKeysPerSecond`, or use this key on known routes.
    public static var path: RequestKey {
        RequestKey("path") { request, _ in
            let path = request.uri.path
            guard path.contains("//") || path.hasSuffix("/") else { return path }
            return "/" + path.split(separator: "/").joined(separator: "/")
        }
    }

    /// Several keys in one; a request that lacks one of them has no key.
    ///
    /// Each part is preceded by its length, so that different parts never give the same key.
    public static func all(_ keys: RequestKey...) -> RequestKey {
        RequestKey(keys.map(\.name).joined(separator: " and ")) { request, context in
            var joined = ""
            for key in keys {
                guard let part = key.value(request, context), !part.isEmpty else { return nil }
                joined += "\(part.utf8.count):\(part),"
            }
            return joined
        }
    }
}

extension RequestKey where Context: RemoteAddressRequestContext {
    /// The address of the client.
    ///
    /// Behind proxies, `X-Forwarded-For` is read from right to left, as far as the addresses belong to trusted proxies:
    /// the first other address is the client's. Addresses further left could be forged.
    ///
    /// - Parameters:
    ///   - trustedProxies: addresses and networks of your own proxies, such as `10.0.0.0/8`; empty without proxies.
    ///   - ipv6PrefixLength: how many bits of an IPv6 address name a client, 1 to 128. Providers give each customer a
    ///     network; with 128, a client could use a new bucket for each request.
    /// - Throws: `InvalidSetting` for an invalid address or length.
    public static func clientAddress(
        trustedProxies: [String] = [], ipv6PrefixLength: Int = 56
    ) throws(InvalidSetting) -> RequestKey {
        let client = try ClientAddress(trustedProxies: trustedProxies, ipv6PrefixLength: ipv6PrefixLength)
        return RequestKey("client address") { request, context in
            client.key(peer: context.remoteAddress, forwardedFor: request.headers[values: .xForwardedFor])
        }
    }
}
