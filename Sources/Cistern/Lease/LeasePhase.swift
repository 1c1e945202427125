/// What a lease is doing: used up, or asked for anew.
///
/// What is known in the one phase does not exist in the other, so both share one place.
enum LeasePhase: Sendable, BitwiseCopyable {
    case settled(LeaseTerms)
    case requesting(RequestInFlight)
}

/// What holds from an answer to the next request.
///
/// Times count from the end of the lease, which is at most a minute away.
struct LeaseTerms: Sendable, BitwiseCopyable {
    /// Tokens that come one after the other.
    var trickle = TrickleGrant()
    /// When so many tokens have been spent since the last request, that is noted; once it has been, how many milliseconds
    /// before the lease's end that was.
    var early = UInt32.max
    /// The lease is renewed as soon as fewer tokens than this are held.
    var renewBelow: UInt32 = 0
}

/// A request in flight.
struct RequestInFlight: Sendable, BitwiseCopyable {
    /// Its number.
    let sequence: UInt64
    /// What it said was held.
    let reported: UInt32
    /// Leased tokens set aside for those that wait for the answer.
    let reserved: UInt32
}

/// What is noted of a lease, a bit each.
struct LeaseFlags: OptionSet, Sendable, BitwiseCopyable {
    let rawValue: UInt8

    /// The store has tokens on record for this lessee that may have been spent since its last answer.
    static let isRecorded = LeaseFlags(rawValue: 1)
    /// So much is on record there, of all lessees, that refill will stop for want of room before it lapses.
    static let isNearCapacity = LeaseFlags(rawValue: 2)
    /// The last request wished for tokens ahead of use.
    static let hasPrefetched = LeaseFlags(rawValue: 4)
    /// The lessee looks after this lease's falling idle.
    static let hasIdleCheck = LeaseFlags(rawValue: 8)
    /// About half of the lease has been spent, and when that was has been noted.
    static let isHalfSpendRecorded = LeaseFlags(rawValue: 16)

    mutating func set(_ note: LeaseFlags, to isSet: Bool) {
        if isSet { insert(note) } else { remove(note) }
    }
}
