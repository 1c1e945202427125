package import Cistern

/// A defect put into a world on purpose, to show that a checker finds it.
///
/// Every hook may change what passes; left alone, nothing changes.
package protocol FaultInjection {
    /// Before a server sends a request.
    mutating func willSend(_ request: inout LeaseRequest)
    /// Before a node acts on a request; returns nil to act on it as usual.
    mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
    ) -> Grant??
    /// Before an answer is taken in by the server.
    mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time)
    /// Which bucket of a node belongs to an organization.
    func bucket(of key: Int) -> Int
    /// Whether a server is told that a request has timed out.
    var honorsDeadlines: Bool { get }
    /// Whether a node that was down is tried again.
    var probes: Bool { get }
    /// Changes the settings of every server.
    func change(_ settings: inout LimiterSettings)
    /// The name that a server gives itself.
    func lesseeID(_ name: String, server: Int) -> String
}

extension FaultInjection {
    package mutating func willSend(_ request: inout LeaseRequest) {}
    package mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, key: Int, now: Time
    ) -> Grant?? { nil }
    package mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {}
    package func bucket(of key: Int) -> Int { key }
    package var honorsDeadlines: Bool { true }
    package var probes: Bool { true }
    package func change(_ settings: inout LimiterSettings) {}
    package func lesseeID(_ name: String, server: Int) -> String { name }
}

/// Nothing is wrong.
package struct NoFaultInjection: FaultInjection {
    package init() {}
}
