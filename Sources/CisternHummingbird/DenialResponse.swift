internal import Cistern
internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// The responses to requests that the limiter denied or refused.
enum DenialResponse {
    /// The body of a response with status 429.
    private struct TooManyRequests: Encodable {
        let error = "Too Many Requests"
        let message: String
        let limit: Int
        let remaining: Int
        let resetAt: String
    }

    /// The body of a response with status 503.
    private struct ServiceUnavailable: Encodable {
        let error = "Service Unavailable"
        let message = "The rate limiter cannot decide now; retry later"
    }

    static func response(to decision: Decision) -> Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        let seconds = decision.retryAfter.map { max(1, Int(($0 / .seconds(1)).rounded(.up))) }
        if let seconds { headers[.retryAfter] = "\(seconds)" }
        guard decision.outcome == .denied else {
            return Response(status: .serviceUnavailable, headers: headers, body: body(ServiceUnavailable()))
        }
        let wait = seconds.map { "retry in \($0) s" } ?? "the cost is above the limit"
        let reset = Date(timeIntervalSinceNow: decision.resetAfter / .seconds(1))
        let content = TooManyRequests(
            message: "Rate limit exceeded; \(wait)", limit: decision.limit.capacity, remaining: decision.remaining,
            resetAt: reset.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))
        return Response(status: .tooManyRequests, headers: headers, body: body(content))
    }

    private static func body(_ content: some Encodable) -> ResponseBody {
        let encoder = JSONEncoder()
        // The same order each time.
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let data = (try? encoder.encode(content)) ?? Data()
        return ResponseBody(byteBuffer: ByteBuffer(bytes: data))
    }
}
