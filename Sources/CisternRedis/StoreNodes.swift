internal import Cistern
internal import Foundation
internal import Logging
internal import NIOCore

/// The nodes of a store, however they share the buckets between them.
protocol StoreNodes: LeaseStore {
    /// Connects to all nodes, and returns once each has been tried.
    func start() async
    /// Closes all connections for good.
    func stop() async
    /// Turns to other nodes, and returns once each new one has been tried.
    func change(to endpoints: [RedisEndpoint]) async throws
    /// Closes the connections of nodes that keep nothing any more.
    func dropLeavingNodes() async
    /// What is known of each node now.
    var reports: [NodeReport] { get }
    /// The nodes; with a home, the one that is there.
    func members(at home: BucketHome?) -> [RedisNode]
    /// The places within reach that have a copy of all overrides.
    var overrideHolders: [OverrideCopies.Holder] { get }
    /// Carries one command about what is kept at a home; `reply` is called once, on any thread.
    func command(
        _ words: [[UInt8]], at home: BucketHome, timeoutMilliseconds: Int64,
        reply: @escaping @Sendable (Result<RESPValue, LeaseFailure>) -> Void)
}

extension StoreNodes {
    /// The same for those that can wait.
    func command(
        _ words: [[UInt8]], at home: BucketHome, timeoutMilliseconds: Int64
    ) async -> Result<RESPValue, LeaseFailure> {
        await withCheckedContinuation { continuation in
            command(words, at: home, timeoutMilliseconds: timeoutMilliseconds) { continuation.resume(returning: $0) }
        }
    }
}

extension [RedisNode] {
    /// Does something with all of the nodes at once, and waits for all of them.
    func forAll(_ body: @escaping @Sendable (RedisNode) async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for node in self { group.addTask { await body(node) } }
        }
    }
}

/// What every node of a store is made with.
struct StoreContext: Sendable {
    let settings: RedisSettings
    let clock: any TimeSource
    let eventLoopGroup: any EventLoopGroup
    let logger: Logger
    /// This server's name among those that share the nodes: another one for each run, since what an earlier run of this
    /// server held is not this one's to give back.
    let server = "\(ProcessInfo.processInfo.processIdentifier)-\(String(UInt64.random(in: 0 ... .max), radix: 16))"

    func makeNode(_ endpoint: RedisEndpoint, role: RedisNode.Role) throws -> RedisNode {
        try RedisNode(
            endpoint: endpoint, settings: settings, role: role, clock: clock, eventLoop: eventLoopGroup.next(),
            logger: logger)
    }
}
