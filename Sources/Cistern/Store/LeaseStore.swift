/// A store that several servers share: it answers lease requests asynchronously.
///
/// A store with one node that is always reachable needs only ``lease(_:reply:)``. ``SharedStore`` describes it to a
/// limiter. ``StoreBucket`` computes the reply to a request.
///
/// The limiter calls ``partition(of:)``, ``isReachable(_:)`` and ``localFraction(of:)`` under a lock that decisions on
/// other keys wait for. They must return within microseconds and must not call the limiter.
public protocol LeaseStore: Sendable {
    /// The partition of a key's bucket now. Answers from memory.
    func partition(of key: Span<UInt8>) -> PartitionID

    /// Whether the node of a partition is believed to be up. Answers from memory.
    func isReachable(_ partition: PartitionID) -> Bool

    /// This server's fraction of every limit in an unreachable partition, for the failure policy `local`.
    ///
    /// nil if none is known. Answers from memory.
    func localFraction(of partition: PartitionID) -> LocalFraction?

    /// Connects; returns once the first attempt has succeeded or failed.
    ///
    /// ``RateLimiter/run()`` calls it once. Failures are not reported here: ``isReachable(_:)`` is then false.
    func start() async

    /// Disconnects permanently; later requests fail at once.
    func stop() async

    /// The limits that operators have set for single keys in this store; nil if they are not known now.
    ///
    /// The limiter asks several times per lease duration. It may ask the store's nodes.
    func overrides() async -> [String: Limit]?

    /// The state of each node, for metrics. Answers from memory.
    var nodeStates: [StoreNode] { get }

    /// Sends one request to the store.
    ///
    /// `reply` is called exactly once, on any thread, by the request's deadline at the latest, and perhaps before this
    /// method returns. It gets the grant or the reason for its absence, and the instant at which that became known.
    func lease(
        _ request: LeaseRequest,
        reply: @escaping @Sendable (_ result: Result<Grant, LeaseFailure>, _ now: Instant) -> Void
    )
}

extension LeaseStore {
    /// The only partition.
    public func partition(of key: Span<UInt8>) -> PartitionID { .only }
    /// Always true.
    public func isReachable(_ partition: PartitionID) -> Bool { true }
    /// Always nil.
    public func localFraction(of partition: PartitionID) -> LocalFraction? { nil }
    /// Does nothing.
    public func start() async {}
    /// Does nothing.
    public func stop() async {}
    /// Always nil.
    public func overrides() async -> [String: Limit]? { nil }
    /// Always empty.
    public var nodeStates: [StoreNode] { [] }
}

/// The state of one node of a store.
public struct StoreNode: Sendable, Equatable {
    /// The node's name, which contains no secret.
    public let name: String
    /// Whether requests are sent to it now.
    public let isReachable: Bool
    /// Why it is not in use; nil while it is.
    public let failure: String?

    /// Creates the state of a node.
    public init(name: String, isReachable: Bool, failure: String? = nil) {
        self.name = name
        self.isReachable = isReachable
        self.failure = failure
    }
}

/// The node or slot where a bucket is kept, as a number that the store chooses.
///
/// The number stays the same as long as the bucket does, even if the bucket's slot moves to another node. A bucket in
/// another partition is another bucket: tokens leased from the old one must be returned to the old one.
public struct PartitionID: Sendable, Hashable, BitwiseCopyable {
    /// The number.
    public let number: UInt16

    /// Creates the partition with a number.
    public init(_ number: UInt16) {
        self.number = number
    }

    /// The partition of every bucket in a store that has only one.
    public static let only = PartitionID(0)
}
