internal import AsyncHTTPClient
internal import CisternServer
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Reads a running server's figures from its admin API.
struct AdminClient {
    /// Why the figures cannot be read, and what to do.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The server's address, without a trailing slash.
    let address: String
    /// The token that the server requires; nil for none.
    let token: String?

    private static let maximumResponseBytes = 4 << 20

    func figures() async throws(Failure) -> ServerFigures {
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroup: .singletonMultiThreadedEventLoopGroup, configuration: configuration)
        let result: Result<ServerFigures, Failure>
        do {
            result = .success(try await figures(client))
        } catch {
            result = .failure(error)
        }
        // No request is in flight, so an error here has no effect.
        try? await client.shutdown()
        return try result.get()
    }

    private func figures(_ client: HTTPClient) async throws(Failure) -> ServerFigures {
        let status: ServerFigures.Status = try await get("/v1/status", client)
        guard status.version == 1 else {
            throw Failure(
                description:
                    "\(address) answers in version \(status.version) of the admin API, which this program cannot read: "
                    + "use the server's version of `cistern`")
        }
        guard status.store != "memory" else {
            throw Failure(
                description:
                    "\(address) keeps its buckets itself (store memory) and leases nothing, so there is nothing to "
                    + "tune: use a server that shares its limits through Redis, or omit --from and set the workload"
            )
        }
        let allowed: ServerFigures.Busiest = try await get("/v1/organizations?sort=allowed&limit=100", client)
        let denied: ServerFigures.Busiest = try await get("/v1/organizations?sort=denied&limit=100", client)
        var bucket: ServerFigures.Bucket?
        let busiest = allowed.organizations.first ?? denied.organizations.first
        if let name = busiest?.organization.addingPercentEncoding(withAllowedCharacters: .alphanumerics) {
            bucket = try await get("/v1/organizations/\(name)", client)
        }
        return ServerFigures(status, allowed: allowed, denied: denied, bucket: bucket)
    }

    private func get<Answer: Decodable>(_ path: String, _ client: HTTPClient) async throws(Failure) -> Answer {
        var request = HTTPClientRequest(url: address + path)
        request.headers.add(name: "Accept", value: "application/json")
        if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        let status: UInt
        let isProblem: Bool
        let body: ByteBuffer
        do {
            let response = try await client.execute(request, timeout: .seconds(5))
            status = response.status.code
            isProblem = response.headers.first(name: "Content-Type")?.hasPrefix("application/problem+json") ?? false
            body = try await response.body.collect(upTo: Self.maximumResponseBytes)
        } catch {
            throw Failure(
                description: "\(address) cannot be reached: \(Self.reason(error)): start the server there, or correct "
                    + "--from; it is the address of the admin port, such as http://127.0.0.1:8081")
        }
        guard status == 200 else { throw failure(status, path, isProblem: isProblem) }
        do {
            return try JSONDecoder().decode(Answer.self, from: Data(body.readableBytesView))
        } catch {
            throw Failure(
                description: "\(address) answers \(path) with something other than Cistern's JSON: correct --from; "
                    + "it is the address of the admin port, such as http://127.0.0.1:8081")
        }
    }

    /// - Parameter isProblem: whether the response is a problem document. The admin API sends its errors as problem
    ///   documents; the data port does not.
    private func failure(_ status: UInt, _ path: String, isProblem: Bool) -> Failure {
        switch status {
        case 401 where isProblem && token == nil:
            Failure(description: "\(address) requires a token: write it to a file, and pass the file with --token-file")
        case 401 where isProblem:
            Failure(description: "\(address) rejects the token: correct the token in the file of --token-file")
        case 429: Failure(description: "\(address) gets too many requests: try again in a minute")
        default:
            Failure(
                description:
                    "\(address) answers \(path) with \(status): correct --from; it is the address of the admin port, "
                    + "such as http://127.0.0.1:8081")
        }
    }

    /// A short description of a connection error.
    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first { return words(first.error) }
            return error.dnsAError == nil && error.dnsAAAAError == nil ? "no connection" : "no such host"
        case let error as HTTPClientError where [.deadlineExceeded, .connectTimeout, .readTimeout].contains(error):
            return "no answer within 5 s"
        default: return words(error)
        }
    }

    private static func words(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        return String(cString: strerror(error.errnoCode))
    }
}
