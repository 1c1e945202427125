/// Settings of the admin interface: its address and its tokens.
package struct AdminSettings: Sendable, Equatable {
    /// The address or name to listen on.
    package var host = "127.0.0.1"
    /// The TCP port; 0 lets the system choose a free one.
    package var port = 8081
    /// The accepted tokens; nil accepts every client, which is valid for a loopback address only.
    package var tokens: AdminTokens?

    package init() {}

    /// Whether an address is `localhost`, `::1` or in 127.0.0.0/8, which only this machine can reach.
    package static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        // Checks every part, since a host name can begin with 127: 127.evil.example.com.
        return parts.count == 4 && parts[0] == "127"
            && parts.allSatisfy { part in part.utf8.allSatisfy { 0x30...0x39 ~= $0 } && UInt8(part) != nil }
    }
}
