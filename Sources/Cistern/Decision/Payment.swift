/// Whether memory has paid a request at once, as nearly always, and what is left then.
///
/// Words of their own, and no optional: that would be packed under the lock and unpacked after it.
struct Payment: BitwiseCopyable {
    /// Whether it has; if not, nothing else here tells anything.
    let isMade: Bool
    private let limit: Limit
    private let heldTokens: UInt32
    private let balance: Balance

    /// - Parameter heldTokens: what is held here beside the balance.
    @inline(__always)
    init(_ limit: Limit, balance: Balance, heldTokens: UInt32 = 0) {
        isMade = true
        self.limit = limit
        self.heldTokens = heldTokens
        self.balance = balance
    }

    private init() {
        isMade = false
        limit = .standard
        heldTokens = 0
        balance = Balance(microtokens: 0)
    }

    /// It has not.
    static var none: Payment { Payment() }

    @inline(__always)
    func decision(at now: Instant) -> Decision {
        .allowed(limit, balance: balance, heldTokens: heldTokens, at: now)
    }
}
