/// Where the operators' plane listens, and who may use it.
package struct AdminSettings: Sendable, Equatable {
    /// The address or name to listen on.
    package var host = "127.0.0.1"
    /// The TCP port; 0 lets the system choose a free one.
    package var port = 8081
    /// Who may use it; nil for everybody who can reach it, which only an address of this machine's own may say.
    package var tokens: AdminTokens?

    package init() {}

    /// Whether an address can be reached from this machine alone.
    package static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        // A name may begin like an address: 127.evil.example.com.
        return parts.count == 4 && parts[0] == "127"
            && parts.allSatisfy { part in part.utf8.allSatisfy { 0x30...0x39 ~= $0 } && UInt8(part) != nil }
    }
}
