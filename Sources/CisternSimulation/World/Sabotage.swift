package import Cistern

/// A defect put into a world on purpose, to show that a checker finds it.
///
/// Every hook may change what passes; left alone, nothing changes.
package protocol Sabotage {
    /// Before a server sends a request.
    mutating func willSend(_ request: inout LeaseRequest)
    /// Before a node acts on a request; returns nil to act on it as usual.
    mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, organization: Int, now: Time
    ) -> Grant??
    /// Before an answer is taken in by the server.
    mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time)
    /// Which bucket of a node belongs to an organisation.
    func bucket(of organization: Int) -> Int
    /// Whether a server is told that a request has timed out.
    var honoursDeadlines: Bool { get }
    /// Whether a node that was down is tried again.
    var probes: Bool { get }
    /// Changes the settings of every server.
    func change(_ settings: inout LimiterSettings)
    /// The name that a server gives itself.
    func lessee(_ name: String, server: Int) -> String
}

extension Sabotage {
    package mutating func willSend(_ request: inout LeaseRequest) {}
    package mutating func act(
        on bucket: inout StoreBucket, _ request: LeaseRequest, organization: Int, now: Time
    ) -> Grant?? { nil }
    package mutating func willAnswer(_ grant: inout Grant, to request: LeaseRequest, now: Time) {}
    package func bucket(of organization: Int) -> Int { organization }
    package var honoursDeadlines: Bool { true }
    package var probes: Bool { true }
    package func change(_ settings: inout LimiterSettings) {}
    package func lessee(_ name: String, server: Int) -> String { name }
}

/// Nothing is wrong.
package struct NoSabotage: Sabotage {
    package init() {}
}
