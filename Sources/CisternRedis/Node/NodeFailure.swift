internal import Foundation
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

/// Why a node is not in use: a name for machines, words for people, and what to do about it.
package struct NodeFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The names of troubles, as `/health`, the log and `cistern nodes` show them.
    package enum Kind: String, Sendable, CaseIterable {
        /// No connection: nobody listens there.
        case refused
        /// No connection: the name or the network is at fault.
        case unreachable
        /// No answer in time: the node hangs, or the way to it swallows what is sent.
        case timeout
        /// The connection broke.
        case closed
        /// No secure connection: a certificate, or a name in it, is wrong.
        case tls
        /// What came is not the Redis protocol.
        case `protocol`
        /// A password is wanted and none was given.
        case noAuth = "no-auth"
        /// The password, or the user, is wrong.
        case wrongPassword = "wrong-password"
        /// The user may not do what is needed.
        case noPermission = "no-permission"
        /// The node reads its data from disk.
        case loading
        /// The node is a replica.
        case readOnly = "read-only"
        /// The node's memory is full.
        case outOfMemory = "out-of-memory"
        /// The node is a replica that has lost its primary.
        case masterDown = "master-down"
        /// The node cannot save its data, and refuses writes for that.
        case cannotPersist = "cannot-persist"
        /// The node has fewer replicas than it was told to have, and refuses writes for that.
        case tooFewReplicas = "too-few-replicas"
        /// Somebody's script has been running on the node for too long.
        case busy
        /// The node is one of a Redis Cluster that does not serve.
        case clusterDown = "cluster-down"
        /// The node is one of a Redis Cluster, and is taken for one on its own.
        case isCluster = "is-a-cluster"
        /// The node stands on its own, and is taken for one of a Redis Cluster.
        case notACluster = "not-a-cluster"
        /// The node is one of another Redis Cluster than the one that is in use.
        case otherCluster = "other-cluster"
        /// The node takes connections from its own machine alone.
        case protectedMode = "protected-mode"
        /// The node has as many clients as it may.
        case tooManyClients = "too-many-clients"
        /// The node answers every request with an error.
        case rejecting
        /// Any other error of the node's.
        case error
        /// The server is stopping, or has no use for the node any more.
        case stopped
    }

    package let kind: Kind
    /// What was seen, in the words of who saw it.
    package let words: String

    package init(_ kind: Kind, _ words: String) {
        self.kind = kind
        self.words = words
    }

    /// The words.
    package var description: String { words }

    /// What to do about it; nil where the node has to be looked at.
    package var remedy: String? {
        switch kind {
        case .refused: "start Redis there, or correct the host and port"
        case .unreachable: "correct the host's name, or its network"
        case .timeout: "the node hangs, or a firewall drops what is sent; see also storeTimeout"
        case .tls: "check redisCaFile, redisCertFile and the names in the node's certificate; see redisServerName"
        case .protocol: "something else listens there, or it wants TLS: use rediss://"
        case .noAuth: "give a password: redisPasswordFile, or in the URL"
        case .wrongPassword: "correct user and password"
        case .noPermission: "grant the user the rights that the README lists"
        case .readOnly, .masterDown: "name the primary, not a replica"
        case .outOfMemory:
            "give the node more maxmemory; keep maxmemory-policy noeviction, since evicting a bucket admits too much"
        case .otherCluster: "another cluster has taken over the address: correct redis, or the node's address"
        case .protectedMode: "set a password on the node, or bind it and turn protected-mode off"
        case .tooManyClients: "raise maxclients on the node, or let fewer clients connect"
        case .rejecting: "look at the node's own log, and at what stands between it and this server"
        case .cannotPersist: "mend the node's disk, or turn its snapshots off"
        case .tooFewReplicas: "bring the node's replicas back"
        case .busy: "end the script with SCRIPT KILL on the node"
        case .isCluster: "set topology to cluster"
        case .notACluster: "set topology to ring"
        case .closed, .loading, .clusterDown, .error, .stopped: nil
        }
    }
}

extension NodeFailure {
    /// What an error reply says of the node; nil where it is about one request.
    ///
    /// A node in trouble is left alone until it has recovered.
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
        NodeFailure(.otherCluster, "none of the nodes that it names is of the cluster in use")
    }

    /// Proxies and other servers put ERR before what Redis says.
    private static func withoutPrefix(_ reply: String) -> Substring {
        var rest = reply[...]
        while let word = ["ERR ", "-"].first(where: { rest.hasPrefix($0) }) { rest = rest.dropFirst(word.count) }
        return rest
    }

    /// The same in the words of others than Redis, of whatever begins with ERR.
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

    /// What an error reply to one of the commands of logging in says: whatever it is, the node cannot be used.
    init(loginReply reply: String) {
        if let trouble = NodeFailure(reply: reply) {
            self = trouble
        } else if reply.contains("AUTH") || reply.contains("invalid password") {
            // Before Redis 6 a wrong password, or one that is not wanted, is an ERR.
            self.init(.wrongPassword, reply)
        } else {
            self.init(.error, reply)
        }
    }

    /// What a failed connection says.
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
        // A node that merely ends does not say goodbye in TLS.
        case NIOSSLError.uncleanShutdown: self.init(.closed, "the connection broke")
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            self.init(.tls, "no secure connection: \(Self.tlsWords(String(describing: error)))")
        default: self.init(.closed, String(describing: error))
        }
    }

    /// What went wrong, out of a description that names source files and lines as well.
    private static func tlsWords(_ description: String) -> String {
        guard let mark = description.firstRange(of: "OPENSSL_internal:") else { return description }
        return String(description[mark.upperBound...].prefix { $0 != " " })
    }
}
