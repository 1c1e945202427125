internal import Cistern
internal import CisternCluster
internal import CisternSupport
internal import Foundation

/// The API's JSON documents, as described in `openapi.json`.
enum Document {
    struct LimitDocument: Encodable {
        let capacity: Int
        let refill: String
        let refillPerSecond: Double
        let shadow: Bool

        init(_ limit: Limit) {
            capacity = limit.capacity
            refill = "\(limit.refill)"
            refillPerSecond = limit.refillPerSecond
            shadow = limit.isShadow
        }
    }

    struct Override: Encodable {
        let capacity: Int
        let refill: String
        let refillPerSecond: Double
        let shadow: Bool
        @Nullable var expiresAt: String?
        @Nullable var expiresInSeconds: Int64?
        let setAt: String
        let setBy: String

        init?(_ entry: LimitOverrides.Entry) {
            guard let limit = entry.limit else { return nil }
            capacity = limit.capacity
            refill = "\(limit.refill)"
            refillPerSecond = limit.refillPerSecond
            shadow = limit.isShadow
            expiresAt = entry.expiresAtMilliseconds.map(Document.date)
            let now = Int64(Date().timeIntervalSince1970 * 1000)
            expiresInSeconds = entry.expiresAtMilliseconds.map { max(0, ($0 - now + 999) / 1000) }
            setAt = Document.date(entry.setAtMilliseconds)
            setBy = entry.setBy
        }
    }

    /// Overrides in force, sorted by organization.
    struct Overrides: Encodable {
        struct Item: Encodable {
            let organization: String
            let override: Override
        }

        let version = 1
        /// The number of all overrides, which may exceed the length of the list.
        let total: Int
        let overrides: [Item]
    }

    struct Journal: Encodable {
        struct Entry: Encodable {
            let number: Int
            let at: String
            let level: String
            let message: String
            let details: [String: String]
        }

        let version = 1
        let entries: [Entry]

        init(_ entries: [JournalEntry]) {
            self.entries = entries.map { entry in
                Entry(
                    number: entry.number, at: Document.date(entry.unixMilliseconds), level: entry.level,
                    message: entry.message, details: entry.details)
            }
        }
    }

    struct Unmetered: Encodable {
        let decisions: UInt64
        @Nullable var lastSecondsAgo: Int64?
    }

    struct OverrideResponse: Encodable {
        let version = 1
        let organization: String
        let override: Override
    }

    struct Lease: Encodable {
        let horizonMilliseconds: Int64
        let durationMilliseconds: Int64
        let prefetchMilliseconds: Int64

        init(_ settings: LeaseSettings) {
            horizonMilliseconds = settings.horizonMilliseconds
            durationMilliseconds = settings.durationMilliseconds
            prefetchMilliseconds = settings.prefetchMilliseconds
        }
    }

    /// The lease settings and the version of the document.
    struct LeaseResponse: Encodable {
        let lease: Lease

        init(_ settings: LeaseSettings) {
            lease = Lease(settings)
        }

        private enum Key: CodingKey {
            case version
        }

        func encode(to encoder: any Encoder) throws {
            try lease.encode(to: encoder)
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(1, forKey: .version)
        }
    }

    struct Node: Encodable {
        struct Latency: Encodable {
            let p50: Double
            let p99: Double
        }

        let name: String
        let state: String
        @Nullable var failure: String?
        @Nullable var reason: String?
        @Nullable var remedy: String?
        let share: Double
        let requestsPerSecond: Double
        @Nullable var latencyMilliseconds: Latency?

        /// - Parameter earlier: the same node `seconds` ago; nil if the node was not known then.
        init(_ node: ServerSnapshot.Node, since earlier: ServerSnapshot.Node?, seconds: Double) {
            name = node.name
            state = node.isUp ? "up" : "down"
            failure = node.isUp ? nil : node.nodeFailure ?? "connecting"
            reason = node.isUp ? nil : node.reason ?? "not connected yet"
            remedy = node.isUp ? nil : node.remedy
            share = (node.share * 10_000).rounded() / 10_000
            let latency = earlier.map { node.latency.since($0.latency) } ?? node.latency
            requestsPerSecond = (Double(latency.count) / seconds * 10).rounded() / 10
            latencyMilliseconds = latency.quantile(0.5).map {
                Latency(p50: Document.rounded($0), p99: Document.rounded(latency.quantile(0.99) ?? $0))
            }
        }
    }

    struct Nodes: Encodable {
        let version = 1
        let nodes: [Node]
    }

    struct Status: Encodable {
        struct Limits: Encodable {
            let organizations: Int
            let overrides: Int
            @Nullable var file: String?
            @Nullable var rejected: String?
        }

        let version = 1
        let server: String
        let store: String
        @Nullable var topology: String?
        let failurePolicy: String
        let uptimeSeconds: Int64
        let organizations: Int
        let evictions: UInt64
        let connections: Int
        let unmetered: Unmetered
        let latestJournalEntry: Int
        let limit: LimitDocument
        let limits: Limits
        @Nullable var lease: Lease?
        let nodes: [Node]
        let sample: Sample

        init(_ snapshot: ServerSnapshot, nodes: [Node], sample: Sample) {
            server = snapshot.server
            store = snapshot.store
            topology = snapshot.topology
            failurePolicy = snapshot.failurePolicy.rawValue
            uptimeSeconds = snapshot.uptimeSeconds
            organizations = snapshot.limiter.cachedBuckets
            evictions = snapshot.limiter.evictions
            connections = snapshot.openConnections
            unmetered = Unmetered(
                decisions: snapshot.limiter.decisions.unmetered,
                lastSecondsAgo: Nullable(wrappedValue: snapshot.lastUnmeteredMillisecondsAgo.map { $0 / 1000 }))
            latestJournalEntry = snapshot.latestJournalEntry
            limit = LimitDocument(snapshot.limits.standard)
            limits = Limits(
                organizations: snapshot.limits.organizations, overrides: snapshot.limits.overrides,
                file: Nullable(wrappedValue: snapshot.limits.file),
                rejected: Nullable(wrappedValue: snapshot.limits.rejection))
            lease = snapshot.lease.map { Lease($0) }
            self.nodes = nodes
            self.sample = sample
        }
    }

    struct Busy: Encodable {
        let organization: String
        let perSecond: Double
        let errorPerSecond: Double

        init(_ entry: SpaceSavingSketch.Entry) {
            organization = entry.name
            perSecond = Document.rounded(entry.perSecond)
            errorPerSecond = Document.rounded(entry.errorPerSecond)
        }
    }

    struct Busiest: Encodable {
        let version = 1
        let sort: String
        let organizations: [Busy]
    }

    struct Organization: Encodable {
        struct Local: Encodable {
            let leasedTokens: Int
        }

        struct Bucket: Encodable {
            let node: String
            @Nullable var slot: Int?
            let isStored: Bool
            let balance: Double
            let outstanding: Int
            let lessees: [LesseeRecord]
        }

        let version = 1
        let organization: String
        let limit: LimitDocument
        let limitSource: String
        @Nullable var override: Override?
        let local: Local
        @Nullable var store: Bucket?
        @Nullable var storeProblem: String?

        init(_ name: String, _ view: OrganizationView) {
            organization = name
            limit = LimitDocument(view.limit)
            limitSource = view.limitSource
            override = view.override.flatMap { Override($0) }
            local = Local(leasedTokens: view.leasedTokens)
            switch view.bucket {
            case .success(let bucket):
                store = Bucket(
                    node: bucket.node, slot: Nullable(wrappedValue: bucket.slot), isStored: bucket.isStored,
                    balance: Document.rounded(bucket.balance), outstanding: bucket.outstanding,
                    lessees: bucket.lessees)
            case .failure(let failure): storeProblem = failure.description
            }
        }
    }

    /// A time in ISO 8601, UTC, in whole seconds.
    static func date(_ unixMilliseconds: Int64) -> String {
        Date(timeIntervalSince1970: Double(unixMilliseconds / 1000)).formatted(.iso8601)
    }

    static func rounded(_ number: Double) -> Double {
        (number * 1000).rounded() / 1000
    }
}

/// A JSON member that is always present; it is null if there is no value.
@propertyWrapper
struct Nullable<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    init() {}

    init(wrappedValue: Value?) {
        self.wrappedValue = wrappedValue
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue {
            try container.encode(wrappedValue)
        } else {
            try container.encodeNil()
        }
    }
}

extension Nullable: Sendable where Value: Sendable {}
