public import Cistern
internal import Foundation
internal import HTTPTypes
public import Hummingbird
internal import Logging

/// Asks a limiter before each request, and answers those that are denied.
///
/// ```swift
/// router.add(middleware: RateLimitMiddleware(limiter, key: .header("x-org-id")))
/// ```
///
/// The response to each metered request gets `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`; with
/// several of these middlewares, those of the tightest limit. A denied request gets status 429 with a JSON body, and
/// `Retry-After` if retrying can succeed. A refused one gets 503. An error that a route throws passes through
/// unchanged, without these headers.
///
/// Besides the strings of keys and header fields, a decision from memory allocates nothing.
public struct RateLimitMiddleware<Context: RequestContext>: RouterMiddleware {
    /// Responds to a request that the limiter denied or refused.
    public typealias DenialHandler = @Sendable (Decision, Request, Context) async throws -> Response

    /// What happens to a request without a key.
    public enum MissingKey: Sendable, Equatable {
        /// It gets status 400, which names the missing key.
        case reject
        /// It takes its tokens from one bucket with this name, shared by all such requests and by no others.
        case share(String)
        /// It passes without being metered.
        case letPass
    }

    private let limiter: RateLimiter
    private let key: RequestKey<Context>
    private let cost: RequestCost<Context>
    private let missingKey: MissingKey
    private let onDenied: DenialHandler?
    private let rateLimitHeaders = RateLimitHeaders()

    /// Creates a middleware.
    ///
    /// - Parameters:
    ///   - limiter: the limiter; with a store it must be one of the application's services.
    ///   - key: names the bucket of a request, such as `.header("x-org-id")`.
    ///   - cost: the tokens that a request takes: a number, or a function of the request.
    ///   - missingKey: what happens to a request without a key; by default it gets status 400.
    ///   - onDenied: responds to a denied or refused request; nil for the responses described above.
    public init(
        _ limiter: RateLimiter, key: RequestKey<Context>, cost: RequestCost<Context> = 1,
        missingKey: MissingKey = .reject, onDenied: DenialHandler? = nil
    ) {
        self.limiter = limiter
        self.key = key
        self.cost = cost
        self.missingKey = missingKey
        self.onDenied = onDenied
    }

    /// Asks the limiter, and passes an allowed request on.
    public func handle(
        _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        var name = key.value(request, context) ?? ""
        if name.isEmpty {
            switch missingKey {
            case .letPass: return try await next(request, context)
            // No header field, path or address begins with a space.
            case .share(let bucket): name = " \(bucket)"
            case .reject: throw HTTPError(.badRequest, message: "\(key.name) is missing")
            }
        }
        let decision: Decision
        let decidedAt: Date
        do {
            decision = try await limiter.acquire(name, cost: cost.value(request, context))
            decidedAt = Date()
        } catch {
            throw response(to: error, context)
        }
        var response =
            if decision.isAllowed {
                try await next(request, context)
            } else if let onDenied {
                try await onDenied(decision, request, context)
            } else {
                DenialResponse.response(to: decision)
            }
        rateLimitHeaders.set(decision, madeAt: decidedAt, in: &response.headers)
        return response
    }

    /// The error that a request without a decision ends with.
    private func response(to error: AcquireError, _ context: Context) -> any Error {
        switch error {
        case .canceled: return CancellationError()
        case .keyTooLong, .emptyKey: return HTTPError(.badRequest, message: "\(key.name): \(error)")
        case .invalidCost, .notRunning, .stopped:
            context.logger.error("the rate limiter made no decision", metadata: ["reason": "\(error)"])
            return HTTPError(.serviceUnavailable)
        }
    }
}

/// The cost of a request, in tokens: a number, or a function of the request.
///
/// A cost that is negative or above 10^9 ends the request with status 503 and a log line.
public struct RequestCost<Context: RequestContext>: Sendable, ExpressibleByIntegerLiteral {
    let value: @Sendable (Request, Context) -> Int

    /// The same cost for every request.
    public init(integerLiteral value: Int) {
        self.init { _, _ in value }
    }

    /// A cost that depends on the request, such as the number of items it asks for.
    public init(_ value: @escaping @Sendable (Request, Context) -> Int) {
        self.value = value
    }
}
