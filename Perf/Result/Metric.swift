/// The measured metrics.
///
/// The raw values are the names in the JSON.
enum Metric: String, Codable, CodingKeyRepresentable, CaseIterable, Sendable {
    case decisionsPerSecond
    case nanosecondsPerDecision
    case p50Microseconds
    case p99Microseconds
    case p999Microseconds
    case maxMicroseconds
    case processorMicroseconds
    case storeProcessorMicroseconds
    case storeCallsPerSecond
    case storeCallsPerThousand
    case deniedPercent
    case failed
    case unmetered
    case overAdmittedTokens
    case underAdmissionPercent
    case outstandingTokens
    case strandedTokens
    case allocatedBytes
    case bytesPerOrganization
    case slowestNewcomerMicroseconds

    /// Whether a higher or a lower value is better.
    enum Direction {
        case higherIsBetter
        case lowerIsBetter
        case neither
    }

    /// The heading of its column, unit included.
    var heading: String {
        switch self {
        case .decisionsPerSecond: "decisions/s"
        case .nanosecondsPerDecision: "ns/decision"
        case .p50Microseconds: "p50 µs"
        case .p99Microseconds: "p99 µs"
        case .p999Microseconds: "p99.9 µs"
        case .maxMicroseconds: "max µs"
        case .processorMicroseconds: "CPU µs"
        case .storeProcessorMicroseconds: "Redis CPU µs"
        case .storeCallsPerSecond: "store calls/s"
        case .storeCallsPerThousand: "store calls/1000"
        case .deniedPercent: "denied %"
        case .failed: "failed"
        case .unmetered: "unmetered"
        case .overAdmittedTokens: "over"
        case .underAdmissionPercent: "lost %"
        case .outstandingTokens: "outstanding"
        case .strandedTokens: "stranded"
        case .allocatedBytes: "bytes allocated/decision"
        case .bytesPerOrganization: "bytes/organization"
        case .slowestNewcomerMicroseconds: "slowest first request µs"
        }
    }

    var decimals: Int {
        switch self {
        case .decisionsPerSecond, .maxMicroseconds, .failed, .unmetered, .overAdmittedTokens, .bytesPerOrganization: 0
        case .outstandingTokens, .strandedTokens, .slowestNewcomerMicroseconds: 0
        case .nanosecondsPerDecision, .p50Microseconds, .p99Microseconds, .p999Microseconds, .storeCallsPerSecond: 1
        case .deniedPercent, .allocatedBytes: 1
        case .processorMicroseconds, .storeProcessorMicroseconds, .storeCallsPerThousand, .underAdmissionPercent: 2
        }
    }

    var direction: Direction {
        switch self {
        case .decisionsPerSecond: .higherIsBetter
        case .deniedPercent, .outstandingTokens: .neither
        default: .lowerIsBetter
        }
    }

    /// Whether it is a count that is the same on every machine, so that a smoke run can check it.
    var isCount: Bool {
        switch self {
        case .storeCallsPerThousand, .failed, .unmetered, .overAdmittedTokens, .allocatedBytes, .bytesPerOrganization:
            true
        default: false
        }
    }
}
