internal import Foundation
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// Why a node is not in use: a kind for programs, a text for people, and a remedy.
package struct NodeFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of node failures, as shown in `/health`, in the log and by `cistern nodes`.
    package enum Kind: String, Sendable, CaseIterable {
        /// The connection was refused: no process listens at the address.
        case refused
        /// The node cannot be reached: name resolution or the network fails.
        case unreachable
        /// No reply in time: the node hangs, or its packets are dropped on the way.
        case timeout
        /// The connection broke.
        case closed
        /// TLS failed: a certificate, or a name in it, is wrong.
        case tls
        /// The received bytes are not the Redis protocol.
        case `protocol`
        /// The node requires a password, and none was given.
        case noAuth = "no-auth"
        /// The user or the password is wrong.
        case wrongPassword = "wrong-password"
        /// The user lacks a required permission.
        case noPermission = "no-permission"
        /// The node is loading its data from disk.
        case loading
        /// The node is a replica.
        case readOnly = "read-only"
        /// The node's memory is full.
        case outOfMemory = "out-of-memory"
        /// The node is a replica that has lost its primary.
        case masterDown = "master-down"
        /// The node cannot save its data, and therefore rejects writes.
        case cannotPersist = "cannot-persist"
        /// The node has fewer replicas than configured, and therefore rejects writes.
        case tooFewReplicas = "too-few-replicas"
        /// Some client's script has been running on the node for too long.
        case busy
        /// The node belongs to a Redis Cluster that is down.
        case clusterDown = "cluster-down"
        /// The node belongs to a Redis Cluster, but is configured as an independent node.
        case isCluster = "is-a-cluster"
        /// The node is independent, but is configured as a Redis Cluster node.
        case notACluster = "not-a-cluster"
        /// The node belongs to a different Redis Cluster than the one in use.
        case otherCluster = "other-cluster"
        /// The node accepts connections only from its own machine.
        case protectedMode = "protected-mode"
        /// The node has reached its maximum number of clients.
        case tooManyClients = "too-many-clients"
        /// The node answers every request with an error.
        case rejecting
        /// Any other error that the node reports.
        case error
        /// The server is stopping, or no longer uses the node.
        case stopped
    }

    package let kind: Kind
    /// The text of the error as it was reported.
    package let message: String

    package init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    /// The same as ``message``.
    package var description: String { message }

    /// What to do about it; nil if the node itself must be examined.
    package var remedy: String? {
        switch kind {
        case .refused: "start Redis there, or correct the host and port"
        case .unreachable: "correct the host name, or fix the network to the host"
        case .timeout: "check whether the node hangs or a firewall drops packets; see also storeTimeout"
        case .tls: "check redisCaFile, redisCertFile and the names in the node's certificate; see redisServerName"
        case .protocol: "check that Redis listens on this port; if it requires TLS, use rediss://"
        case .noAuth: "set a password with redisPasswordFile, or put it into the URL"
        case .wrongPassword: "correct the user and the password"
        case .noPermission: "grant the user the permissions listed in the article 'TLS and ACL'"
        case .readOnly, .masterDown: "name the primary, not a replica"
        case .outOfMemory:
            "raise the node's maxmemory; keep maxmemory-policy noeviction, because evicting a bucket admits too much"
        case .otherCluster: "another cluster uses this address now: correct the setting redis, or the node's address"
        case .protectedMode: "set a password on the node, or set bind and turn protected-mode off"
        case .tooManyClients: "raise maxclients on the node, or let fewer clients connect"
        case .rejecting: "check the node's log, and any proxy between the node and this server"
        case .cannotPersist: "fix the node's disk, or turn its snapshots off"
        case .tooFewReplicas: "restart or reconnect the node's replicas"
        case .busy: "end the script with SCRIPT KILL on the node"
        case .isCluster: "set topology to cluster"
        case .notACluster: "set topology to ring"
        case .closed, .loading, .clusterDown, .error, .stopped: nil
        }
    }
}

extension NodeFailure {
    /// Interprets an error reply; nil if the error concerns only one request.
    ///
    /// A failed node gets no requests until it has recovered.
    package init?(reply: String) {
        // Before Redis 7 an error inside a script is wrapped: "ERR Error running script (…): …: -READONLY …".
        let code =
            if reply.hasPrefix("ERR Error running script") {
                Self.codes.keys.first { reply.contains("-\($0) ") } ?? ""
            } else {
                String(Self.withoutPrefix(reply).prefix { $0 != " " })
            }
        if let kind = Self.codes[code] {
            self.init(kind, reply)
        } else if let phrase = Self.phrases.first(where: { reply.lowercased().contains($0.text) }) {
            self.init(phrase.kind, reply)
        } else {
            return nil
        }
    }

    static var otherCluster: NodeFailure {
        NodeFailure(.otherCluster, "none of the nodes in this node's slot map belongs to the cluster in use")
    }

    /// Removes the `ERR` that proxies and other servers put before a Redis error.
    private static func withoutPrefix(_ reply: String) -> Substring {
        var rest = reply[...]
        while let word = ["ERR ", "-"].first(where: { rest.hasPrefix($0) }) { rest = rest.dropFirst(word.count) }
        return rest
    }

    /// Error texts of Redis-compatible servers that have no error code other than `ERR`.
    private static let phrases: [(text: String, kind: Kind)] = [
        ("max number of clients", .tooManyClients), ("read-only mode", .readOnly), ("read only replica", .readOnly),
        ("readonly replica", .readOnly),
    ]

    private static let codes: [String: Kind] = [
        "LOADING": .loading, "READONLY": .readOnly, "OOM": .outOfMemory, "MASTERDOWN": .masterDown,
        "NOAUTH": .noAuth, "WRONGPASS": .wrongPassword, "NOPERM": .noPermission, "MISCONF": .cannotPersist,
        "NOREPLICAS": .tooFewReplicas, "BUSY": .busy, "CLUSTERDOWN": .clusterDown, "MOVED": .isCluster,
        "ASK": .isCluster, "DENIED": .protectedMode,
    ]

    /// Interprets an error reply to a login command: any such error makes the node unusable.
    init(loginReply reply: String) {
        if let nodeFailure = NodeFailure(reply: reply) {
            self = nodeFailure
        } else if reply.contains("AUTH") || reply.contains("invalid password") {
            // Before Redis 6, a wrong or unexpected password is a plain ERR.
            self.init(.wrongPassword, reply)
        } else {
            self.init(.error, reply)
        }
    }

    /// Interprets a connection error.
    init(_ error: any Error) {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first {
                self.init(first.error)
            } else {
                self.init(.unreachable, "cannot resolve \(error.host)")
            }
        case let error as IOError where error.errnoCode == ECONNREFUSED:
            self.init(.refused, String(cString: strerror(error.errnoCode)))
        case let error as IOError where error.errnoCode == ECONNRESET:
            self.init(.closed, String(cString: strerror(error.errnoCode)))
        case let error as IOError: self.init(.unreachable, String(cString: strerror(error.errnoCode)))
        case ChannelError.connectTimeout: self.init(.timeout, "no connection within the connect timeout")
        // A node that terminates sends no TLS close_notify.
        case NIOSSLError.uncleanShutdown: self.init(.closed, "the connection broke")
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            self.init(.tls, "no secure connection: \(Self.tlsReason(String(describing: error)))")
        default: self.init(.closed, String(describing: error))
        }
    }

    /// Extracts the reason from a description that also contains source files and lines.
    private static func tlsReason(_ description: String) -> String {
        guard let mark = description.firstRange(of: "OPENSSL_internal:") else { return description }
        return String(description[mark.upperBound...].prefix { $0 != " " })
    }
}
