internal import Cistern
internal import CisternRedis
internal import DequeModule
internal import Foundation
internal import Synchronization

/// The limiter that most services start with: GET, GET, compute, SET, SET, one after the other.
///
/// Each request takes a connection from a pool and waits for each reply before the next command; nothing is pipelined.
/// It uses the same Redis keys as Cistern. Two overlapping requests of an organization read the same balance and take
/// the same token, so admissions exceed the limit. The benchmark measures by how much.
final class ReferenceLimiter: BaselineLimiter {
    /// The number of connections in the pool.
    static let connections = 64
    private static let timeoutMilliseconds: Int64 = 1000
    private static let timeToLive = Array("60".utf8)
    private static let (get, set, expire) = (Array("GET".utf8), Array("SET".utf8), Array("EX".utf8))

    private struct Pool {
        var idle: [RedisStore]
        /// Requests that wait for a connection.
        var waiting: Deque<@Sendable (RedisStore) -> Void> = []
    }

    private let pool: Mutex<Pool>
    private let limits: Limits
    private let clock: any TimeSource
    private let unmeteredCount = Atomic(0)

    var unmetered: Int { unmeteredCount.load(ordering: .relaxed) }

    /// - Parameter stores: the pool; each store has one connection.
    init(stores: [RedisStore], limits: Limits, clock: any TimeSource) {
        pool = Mutex(Pool(idle: stores))
        self.limits = limits
        self.clock = clock
    }

    private struct Request: Sendable {
        let store: RedisStore
        let organization: [UInt8]
        let tokensKey: [UInt8]
        let refillKey: [UInt8]
        let limit: Limit
        let cost: Int
        let answer: @Sendable (Decision) -> Void
    }

    func decide(
        _ organization: Span<UInt8>, cost: Int, now: Instant, resume: @escaping @Sendable (Decision) -> Void
    ) -> Decision? {
        let name = organization.withUnsafeBufferPointer { Array($0) }
        let limit = limits.limit(of: organization)
        withConnection { store in
            let prefix = Array("ratelimit:".utf8) + name
            let request = Request(
                store: store, organization: name, tokensKey: prefix + Array(":tokens".utf8),
                refillKey: prefix + Array(":lastRefill".utf8), limit: limit, cost: cost
            ) { decision in
                self.putBack(store)
                resume(decision)
            }
            self.call([Self.get, request.tokensKey], for: request) { tokens in
                self.call([Self.get, request.refillKey], for: request) { lastRefill in
                    self.decide(request, tokens: tokens, lastRefill: lastRefill)
                }
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
            return request.answer(
                .denied(
                    request.limit, balanceUnits: Int64(balance * 1e6),
                    retryAfterMilliseconds: Int64((missing * 1000).rounded(.up)), at: clock.now()))
        }
        balance -= Double(request.cost)
        let (left, decidedAt) = (balance, clock.now())
        let writes = [(request.tokensKey, "\(left)"), (request.refillKey, String(Int64(wall)))]
            .map { key, value in [Self.set, key, Array(value.utf8), Self.expire, Self.timeToLive] }
        call(writes[0], for: request) { _ in
            self.call(writes[1], for: request) { _ in
                request.answer(.allowed(request.limit, balanceUnits: Int64(left * 1e6), at: decidedAt))
            }
        }
    }

    /// Sends one command.
    ///
    /// If it fails, the request is admitted unmetered, as in the reference.
    private func call(
        _ words: [[UInt8]], for request: Request, then: @escaping @Sendable (RESPValue) -> Void
    ) {
        request.store.command(
            words, about: request.organization.span, timeoutMilliseconds: Self.timeoutMilliseconds
        ) { result in
            switch result {
            case .success(.error), .failure:
                self.unmeteredCount.add(1, ordering: .relaxed)
                request.answer(.unmetered(request.limit, at: self.clock.now()))
            case .success(let value): then(value)
            }
        }
    }

    // MARK: The pool

    private func withConnection(_ body: @escaping @Sendable (RedisStore) -> Void) {
        let store = pool.withLock { pool in
            let store = pool.idle.popLast()
            if store == nil { pool.waiting.append(body) }
            return store
        }
        if let store { body(store) }
    }

    private func putBack(_ store: RedisStore) {
        let next = pool.withLock { pool in
            let next = pool.waiting.popFirst()
            if next == nil { pool.idle.append(store) }
            return next
        }
        next?(store)
    }
}

extension RESPValue {
    /// The number that a string holds; nil for anything else.
    fileprivate var number: Double? {
        guard case .string(let bytes) = self else { return nil }
        return Double(String(decoding: bytes, as: UTF8.self))
    }
}
