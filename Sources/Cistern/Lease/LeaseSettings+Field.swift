extension LeaseSettings {
    /// The settings, by the names that configurations use; times are in milliseconds.
    package enum Field: String, CaseIterable, Sendable {
        case leaseDuration
        case leaseHorizon
        case leaseMinimum
        case leasePrefetch
        case leaseIdle
        case leaseAlone
        case leaseCallsPerSecond
        case leaseDemandRise
        case leaseDemandFall
        case clockDrift
        case storeTimeout

        package var range: ClosedRange<Int64> {
            switch self {
            case .leaseDuration: 100...60_000
            case .leaseHorizon: 10...10_000
            case .leaseMinimum: 1...1_000_000
            case .leasePrefetch: 0...5000
            case .leaseIdle: 10...60_000
            case .leaseAlone: 1...8
            case .leaseCallsPerSecond: 1...1_000_000
            case .leaseDemandRise: 1...10_000
            case .leaseDemandFall: 1...60_000
            case .clockDrift: 0...200
            case .storeTimeout: 5...10_000
            }
        }

        package var isTime: Bool {
            switch self {
            case .leaseMinimum, .leaseAlone, .leaseCallsPerSecond, .clockDrift: false
            default: true
            }
        }

        /// A value as people write it.
        func text(_ value: Int64) -> String { isTime ? "\(value)ms" : "\(value)" }
    }

    package subscript(field: Field) -> Int64 {
        get {
            switch field {
            case .leaseDuration: durationMilliseconds
            case .leaseHorizon: horizonMilliseconds
            case .leaseMinimum: Int64(minimumDemandTokens)
            case .leasePrefetch: prefetchMilliseconds
            case .leaseIdle: idleMilliseconds
            case .leaseAlone: Int64(soloMultiplier)
            case .leaseCallsPerSecond: Int64(callsPerSecond)
            case .leaseDemandRise: demandRiseMilliseconds
            case .leaseDemandFall: demandFallMilliseconds
            case .clockDrift: clockDriftPerMille
            case .storeTimeout: timeoutMilliseconds
            }
        }
        set {
            switch field {
            case .leaseDuration: durationMilliseconds = newValue
            case .leaseHorizon: horizonMilliseconds = newValue
            case .leaseMinimum: minimumDemandTokens = Int(newValue)
            case .leasePrefetch: prefetchMilliseconds = newValue
            case .leaseIdle: idleMilliseconds = newValue
            case .leaseAlone: soloMultiplier = Int(newValue)
            case .leaseCallsPerSecond: callsPerSecond = Int(newValue)
            case .leaseDemandRise: demandRiseMilliseconds = newValue
            case .leaseDemandFall: demandFallMilliseconds = newValue
            case .clockDrift: clockDriftPerMille = newValue
            case .storeTimeout: timeoutMilliseconds = newValue
            }
        }
    }
}
