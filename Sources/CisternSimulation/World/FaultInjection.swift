package import Cistern

/// A defect injected into a world to test that a checker finds it.
///
/// The hooks may change the values passed to them. The default implementations change nothing.
package protocol FaultInjection {
    /// Called before a server sends a request.
    mutating func willSend(_ request: inout LeaseRequest)
    /// Called before a node acts on a request.
    ///
    /// Returns nil for the usual behavior, or the result to use instead: a grant, or nil for a stale request.
    mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
    ) -> Grant??
    /// Called before a server receives a grant.
    mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time)
    /// Returns the bucket that a node uses for a key.
    func bucket(of key: Int) -> Int
    /// Whether servers time out requests.
    var honorsDeadlines: Bool { get }
    /// Whether servers probe nodes that are down.
    var probes: Bool { get }
    /// Changes the settings of every server.
    func change(_ settings: inout LimiterSettings)
    /// Returns the lessee ID that a server uses.
    func lesseeID(_ name: String, server: Int) -> String
}

extension FaultInjection {
    package mutating func willSend(_ request: inout LeaseRequest) {}
    package mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
    ) -> Grant?? { nil }
    package mutating func willDeliver(_ grant: inout Grant, to request: LeaseRequest, now: Time) {}
    package func bucket(of key: Int) -> Int { key }
    package var honorsDeadlines: Bool { true }
    package var probes: Bool { true }
    package func change(_ settings: inout LimiterSettings) {}
    package func lesseeID(_ name: String, server: Int) -> String { name }
}

/// Injects no faults.
package struct NoFaultInjection: FaultInjection {
    package init() {}
}
