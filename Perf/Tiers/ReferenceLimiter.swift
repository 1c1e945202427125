internal import Cistern
internal import CisternRedis
internal import Foundation

/// The limiter that most services begin with: GET, GET, compute, SET, SET, one after the other.
///
/// It reads and writes the keys that Cistern does. Two requests of an organisation that overlap read the same balance,
/// and both take the same token: it exceeds the limit, and how far is measured.
final class ReferenceLimiter: Decider {
    private static let timeToLive = Array("60".utf8)
    private static let (get, set, expire) = (Array("GET".utf8), Array("SET".utf8), Array("EX".utf8))

    private let store: RedisStore
    private let limits: Limits
    private let timeoutMilliseconds: Int64
    private let clock: any TimeSource

    init(store: RedisStore, limits: Limits, timeoutMilliseconds: Int64, clock: any TimeSource) {
        self.store = store
        self.limits = limits
        self.timeoutMilliseconds = timeoutMilliseconds
        self.clock = clock
    }

    private struct Request: Sendable {
        let tokensKey: [UInt8]
        let refillKey: [UInt8]
        let organization: [UInt8]
        let limit: Limit
        let cost: Int
        let resume: @Sendable (Decision) -> Void
    }

    func decide(
        _ organization: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        let name = organization.withUnsafeBufferPointer { Array($0) }
        let prefix = Array("ratelimit:".utf8) + name
        let request = Request(
            tokensKey: prefix + Array(":tokens".utf8), refillKey: prefix + Array(":lastRefill".utf8),
            organization: name, limit: limits.limit(of: organization), cost: cost, resume: resume)
        call([Self.get, request.tokensKey], for: request) { tokens in
            self.call([Self.get, request.refillKey], for: request) { lastRefill in
                self.decide(request, tokens: tokens, lastRefill: lastRefill)
            }
        }
        return nil
    }

    private func decide(_ request: Request, tokens: RESPValue, lastRefill: RESPValue) {
        let wall = Date().timeIntervalSince1970 * 1000
        let capacity = Double(request.limit.capacity)
        let elapsed = max(0, wall - (lastRefill.number ?? wall))
        var balance = min(capacity, (tokens.number ?? capacity) + elapsed / 1000 * request.limit.refillPerSecond)
        guard balance >= Double(request.cost) else {
            let missing = (Double(request.cost) - balance) / request.limit.refillPerSecond
            return request.resume(
                .denied(
                    request.limit, balanceMicrotokens: Int64(balance * 1e6),
                    retryAfterMilliseconds: Int64((missing * 1000).rounded(.up)), at: clock.now()))
        }
        balance -= Double(request.cost)
        let left = balance
        let decidedAt = clock.now()
        let writes = [(request.tokensKey, "\(balance)"), (request.refillKey, String(Int64(wall)))]
            .map { key, value in [Self.set, key, Array(value.utf8), Self.expire, Self.timeToLive] }
        call(writes[0], for: request) { _ in
            self.call(writes[1], for: request) { _ in
                request.resume(.allowed(request.limit, balanceMicrotokens: Int64(left * 1e6), at: decidedAt))
            }
        }
    }

    /// Carries one command; where there is no answer the request is let through, as the reference does.
    private func call(
        _ words: [[UInt8]], for request: Request, then: @escaping @Sendable (RESPValue) -> Void
    ) {
        store.command(words, about: request.organization.span, timeoutMilliseconds: timeoutMilliseconds) { result in
            switch result {
            case .success(.error), .failure: request.resume(.unmetered(request.limit, at: self.clock.now()))
            case .success(let value): then(value)
            }
        }
    }
}

extension RESPValue {
    /// The number that a string holds; nil for anything else.
    fileprivate var number: Double? {
        guard case .string(let bytes) = self else { return nil }
        return Double(String(decoding: bytes, as: UTF8.self))
    }
}
