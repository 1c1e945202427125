/// How a limiter makes the store that it shares with others, such as `.redis("redis://127.0.0.1:6379")`.
public struct SharedStore: Sendable {
    let make: @Sendable (StoreEnvironment) throws -> any LeaseStore

    /// Describes a store.
    ///
    /// - Parameter make: creates it when the limiter is created. The store must not connect before it is started.
    public init(_ make: @escaping @Sendable (StoreEnvironment) throws -> any LeaseStore) {
        self.make = make
    }
}
