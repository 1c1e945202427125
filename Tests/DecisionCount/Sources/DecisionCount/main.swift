import Cistern

/// Makes a number of decisions of one kind, for counting the instructions per decision from outside.
///
/// Subtract the instructions of a run from those of a run with twice the count: the difference excludes the setup.
///
///     DecisionCount embedded|leased|embeddedDecision|leasedDecision|denied COUNT
///
/// Every run uses the same names, the same hash key and the same clock.
enum DecisionCount {
    /// The kind of decision.
    enum Kind: String {
        /// Allowed from a bucket of the embedded store.
        case embedded
        /// Allowed from tokens leased before.
        case leased
        /// The same, with the remaining balance.
        case embeddedDecision, leasedDecision
        /// Denied from memory because the store's last balance cannot pay, with the retry-after time.
        case denied

        var isEmbedded: Bool { self == .embedded || self == .embeddedDecision }
    }

    /// The number of keys that take turns: enough for collisions in the table, as in practice.
    private static let organizations = 4096
    private static let nameLength = 36

    /// Makes the decisions and returns how many had the expected outcome.
    static func run(_ kind: Kind, count: Int) throws -> Int {
        let names = names()
        let capacity = kind == .denied ? 1 : Limit.maximumCapacity
        let refillPerSecond = kind == .denied ? 0.001 : 1000
        let limits = Limits(standard: try Limit(capacity: capacity, refillPerSecond: refillPerSecond))
        let limiter =
            kind.isEmbedded
            ? RateLimiterEngine(limits: limits, seed: 1)
            : RateLimiterEngine(
                limits: limits, store: GenerousStore(), lesseeID: "count",
                sizing: FixedSizing(tokens: kind == .denied ? 0 : capacity), seed: 1)
        let start = Instant(milliseconds: 1000)
        for number in 0..<organizations {
            let name = names.span.extracting(number * nameLength..<(number + 1) * nameLength)
            _ = limiter.decide(name, now: start) { _ in }
        }
        // Each key has spent its first token. If denied, each also knows from the store that no token is left.
        return switch kind {
        case .embedded, .leased: allow(limiter, names.span, count: count)
        case .embeddedDecision, .leasedDecision: decide(limiter, names.span, count: count, expected: .allowed)
        case .denied: decide(limiter, names.span, count: count, expected: .denied)
        }
    }

    @inline(never)
    private static func decide(
        _ limiter: RateLimiterEngine, _ names: Span<UInt8>, count: Int, expected: Decision.Outcome
    ) -> Int {
        var right = 0
        for turn in 0..<count {
            let name = names.extracting(unchecked: keyRange(turn))
            if limiter.decideNow(name, now: now(turn))?.outcome == expected { right += 1 }
        }
        return right
    }

    @inline(never)
    private static func allow(_ limiter: RateLimiterEngine, _ names: Span<UInt8>, count: Int) -> Int {
        var right = 0
        for turn in 0..<count {
            let name = names.extracting(unchecked: keyRange(turn))
            if limiter.allowNow(name, now: now(turn)) == true { right += 1 }
        }
        return right
    }

    /// A microsecond between two decisions, all of them within the lease.
    @inline(__always)
    private static func now(_ turn: Int) -> Instant { Instant(nanoseconds: 1_000_000_000 + Int64(turn) * 1000) }

    /// The byte range of the name for a turn; an odd multiplier visits every name.
    @inline(__always)
    private static func keyRange(_ turn: Int) -> Range<Int> {
        let number = turn &* 2_654_435_761 % organizations
        return number &* nameLength..<(number &+ 1) &* nameLength
    }

    /// All names, concatenated, 36 bytes each like UUIDs.
    private static func names() -> [UInt8] {
        (0..<organizations).flatMap { number in
            // Multiplying by an odd number maps each number to a different one that looks random.
            let digits = String(UInt64(number + 1) &* 0x9e37_79b9_7f4a_7c15, radix: 16)
            let padded = String(repeating: "0", count: 16 - digits.count) + digits
            return Array("\(padded.prefix(8))-0000-4000-8000-0000\(padded.suffix(8))".utf8)
        }
    }
}

/// A store that grants every request up to the capacity, and reports that no token is left.
private struct GenerousStore: LeaseStore {
    func lease(
        _ request: LeaseRequest, reply: @escaping @Sendable (Result<Grant, LeaseFailure>, Instant) -> Void
    ) {
        let tokens = min(request.missingTokens + request.requested.prefetchTokens, request.limit.capacity)
        let grant = Grant(
            tokens: tokens, held: request.held, openUnits: 0,
            openRefillUnitsPerMillisecond: Int64(request.limit.refillPerSecond * 1000), outstanding: tokens)
        reply(.success(grant), request.sentAt)
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 3, let kind = DecisionCount.Kind(rawValue: arguments[1]), let count = Int(arguments[2]) else {
    preconditionFailure("usage: DecisionCount embedded|leased|embeddedDecision|leasedDecision|denied COUNT")
}
let right = try DecisionCount.run(kind, count: count)
precondition(right == count, "\(count - right) of \(count) decisions did not have the expected outcome")
print("\(right) decisions")
