/// Why a limiter has made no decision.
///
/// A request that gets an error must not proceed: nothing has been metered.
public enum AcquireError: Error, Equatable, CustomStringConvertible {
    /// The key has no bytes.
    case emptyKey
    /// The key has more than ``RateLimiter/maximumKeyBytes`` bytes.
    case keyTooLong(bytes: Int)
    /// The cost is negative, or above ``Limit/maximumCapacity``.
    case invalidCost(Int)
    /// The limiter has a shared store, and its ``RateLimiter/run()`` was not called within the store timeout.
    case notRunning
    /// The limiter has returned its leases and disconnected.
    case stopped
    /// The task was canceled while it waited for the store.
    case canceled

    /// What is wrong, with the value and the remedy.
    public var description: String {
        switch self {
        case .emptyKey: "key is empty: reject requests that have no key, or give them a bucket of their own"
        case .keyTooLong(let bytes):
            "key has \(bytes) bytes: use at most \(RateLimiter.maximumKeyBytes), for example a hash of the value"
        case .invalidCost(let cost): "cost is \(cost): use 0 to \(Limit.maximumCapacity) tokens"
        case .notRunning:
            "the limiter is not running, so its store is not connected: add it to the application's services, "
                + "or call run()"
        case .stopped: "the limiter has stopped: shut it down after the services that use it"
        case .canceled: "the task was canceled while it waited for the store"
        }
    }
}
