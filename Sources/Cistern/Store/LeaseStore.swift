/// A store that other servers share: it answers lease requests, some time later.
///
/// A store with one node, always at hand, needs ``lease(_:reply:)`` and no more.
///
/// All but ``lease(_:reply:)`` are asked while the limiter holds a lock that decisions of other organizations wait for: they
/// must return within microseconds, and must not ask the limiter anything.
public protocol LeaseStore: Sendable {
    /// Where an organization's bucket is now. Answers from memory.
    func partition(of key: Span<UInt8>) -> PartitionID

    /// Whether the node at a home is believed to be up. Answers from memory.
    func isReachable(_ partition: PartitionID) -> Bool

    /// This server's part of every limit kept at a home that is out of reach, for the failure policy `local`; nil where
    /// none is known. Answers from memory.
    func localFraction(of partition: PartitionID) -> LocalFraction?

    /// Carries one request to the store.
    ///
    /// `reply` is called exactly once, with the answer or with why there is none, by the request's deadline at the
    /// latest, on any thread, and perhaps before this returns; with it, the instant at which that became known.
    func lease(
        _ request: LeaseRequest,
        reply: @escaping @Sendable (_ result: Result<Grant, LeaseFailure>, _ now: Instant) -> Void
    )
}

extension LeaseStore {
    /// The only one there is.
    public func partition(of key: Span<UInt8>) -> PartitionID { .only }
    /// Always.
    public func isReachable(_ partition: PartitionID) -> Bool { true }
    /// None.
    public func localFraction(of partition: PartitionID) -> LocalFraction? { nil }
}

/// Where a bucket is kept, as a number of the store's choosing.
///
/// It stays the same for as long as the bucket is the same one, wherever that moves. Another home is another bucket:
/// what was leased out of the old one has to go back there.
public struct PartitionID: Sendable, Hashable, BitwiseCopyable {
    /// The number.
    public let number: UInt16

    /// Creates the home with a number.
    public init(_ number: UInt16) {
        self.number = number
    }

    /// The home of every bucket in a store that has no more than one.
    public static let only = PartitionID(0)
}
