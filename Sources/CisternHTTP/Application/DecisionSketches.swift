internal import Cistern
internal import CisternSupport

/// The organizations with the most decisions, by outcome.
package struct DecisionSketches: Sendable {
    private var allowed = SpaceSavingSketch()
    private var denied = SpaceSavingSketch()
    private var shadowDenied = SpaceSavingSketch()

    package init() {}

    mutating func count(_ organization: Span<UInt8>, _ decision: Decision) {
        let second = decision.decidedAt.milliseconds / 1000
        if decision.isAllowed {
            allowed.record(organization, second: second)
            if decision.isShadowDenial { shadowDenied.record(organization, second: second) }
        } else {
            denied.record(organization, second: second)
        }
    }

    subscript(order: DecisionKind) -> SpaceSavingSketch {
        switch order {
        case .allowed: allowed
        case .denied: denied
        case .shadowDenied: shadowDenied
        }
    }
}
