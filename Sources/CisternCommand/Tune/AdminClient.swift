internal import AsyncHTTPClient
internal import CisternServer
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

/// Reads a running server's figures from its admin API.
struct AdminClient {
    /// Why the figures are not to be had, and what to do.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// The server's address, without a slash at its end.
    let address: String
    /// What the server wants to see, where it wants something.
    let token: String?

    private static let longestAnswer = 4 << 20

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
        // Nothing is under way any more, so that nothing can fail here that matters.
        try? await client.shutdown()
        return try result.get()
    }

    private func figures(_ client: HTTPClient) async throws(Failure) -> ServerFigures {
        let status: ServerFigures.Status = try await get("/v1/status", client)
        guard status.version == 1 else {
            throw Failure(
                description:
                    "\(address) answers in version \(status.version) of the admin API, which this program does not know: "
                    + "use the `cistern` that the server was started with")
        }
        guard status.store != "memory" else {
            throw Failure(
                description:
                    "\(address) keeps its buckets itself (store memory) and leases nothing, so there is nothing to tune: "
                    + "name a server that shares its limits through Redis, or leave --from out and describe the workload"
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
            body = try await response.body.collect(upTo: Self.longestAnswer)
        } catch {
            throw Failure(
                description: "\(address) cannot be asked: \(Self.reason(error)): start the server there, or correct "
                    + "--from; it is the address of the admin port, such as http://127.0.0.1:8081")
        }
        guard status == 200 else { throw failure(status, path, isProblem: isProblem) }
        do {
            return try JSONDecoder().decode(Answer.self, from: Data(body.readableBytesView))
        } catch {
            throw Failure(
                description: "\(address) answers \(path) with something that is not Cistern's: correct --from; "
                    + "it is the address of the admin port, such as http://127.0.0.1:8081")
        }
    }

    /// - Parameter isProblem: whether the answer has the form of the admin API's errors, which the data port's have not.
    private func failure(_ status: UInt, _ path: String, isProblem: Bool) -> Failure {
        switch status {
        case 401 where isProblem && token == nil:
            Failure(description: "\(address) wants a token: put it into a file and name that with --token-file")
        case 401 where isProblem:
            Failure(description: "\(address) refuses the token: correct what is in the file of --token-file")
        case 429: Failure(description: "\(address) is asked too often: try again in a minute")
        default:
            Failure(
                description:
                    "\(address) answers \(path) with \(status): correct --from; it is the address of the admin port, "
                    + "such as http://127.0.0.1:8081")
        }
    }

    /// An error of the connection in a few words.
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
