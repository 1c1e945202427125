import CisternProcesses
import CisternTesting
import Foundation
import HTTPTypes
import Testing

@testable import CisternAdmin

/// Compares the API's description with the API.
@Suite("openapi.json")
struct OpenAPITests {
    private func document(of admin: AdminClient) throws -> [String: Any] {
        let reply = try admin.get("/openapi.json")
        #expect(reply.status == 200 && reply["Content-Type"] == "application/json")
        return reply.json
    }

    @Test("the document describes exactly the existing routes, each with its method")
    func routes() async throws {
        let server = try await CisternProcess()
        let document = try document(of: server.admin)
        #expect(document["openapi"] as? String == "3.1.0")
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        let described = paths.flatMap { path, item in
            item.keys.filter { $0 != "parameters" }.map { "\($0.uppercased()) \(path)" }
        }
        let routed = AdminRoute.allCases.map { "\($0.method.rawValue) \($0.path)" }
        #expect(described.sorted() == routed.sorted())
        for route in AdminRoute.allCases where route != .events {
            let path = route.path.replacing("{organization}", with: "acme")
            for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
                guard method != route.method.rawValue else { continue }
                let isOther = routed.contains("\(method) \(route.path)")
                let status = try server.admin.send(method, path).status
                #expect((status == 405) != isOther, "\(method) \(path): \(status)")
            }
        }
    }

    @Test("the document describes every response correctly, with either store")
    func answers() async throws {
        let redis = try await RedisServer()
        for arguments in [["--redis", redis.url, "--store-timeout", "1s"], []] {
            let server = try await CisternProcess(arguments)
            for _ in 0..<3 { _ = try server.exchange(HTTPRequestText.chat("acme")) }
            let document = try document(of: server.admin)
            try check(server.admin, document, hasLeases: !arguments.isEmpty)
        }
    }

    private func check(_ admin: AdminClient, _ document: [String: Any], hasLeases: Bool) throws {
        let lease = hasLeases ? 200 : 409
        let requests: [(AdminRoute, path: String?, json: String?, status: Int)] = [
            (.setLimit, nil, #"{"capacity":5,"refill":"5/h","shadow":true,"expiresInSeconds":60}"#, 200),
            (.setLimit, nil, #"{"capacity":5,"refillPerSecond":0.5}"#, 200),
            (.status, nil, nil, 200), (.nodes, nil, nil, 200), (.organizations, nil, nil, 200),
            (.organizations, "/v1/organizations?sort=sideways", nil, 400), (.organization, nil, nil, 200),
            (.fillBucket, nil, nil, 204), (.removeLimit, nil, nil, 204), (.removeLimit, nil, nil, 404),
            (.lease, nil, nil, lease), (.changeLease, nil, #"{"horizonMilliseconds":300}"#, lease),
            (.setLimit, nil, #"{"capacity":-1,"refillPerSecond":1}"#, 400), (.health, nil, nil, 200),
            (.overrides, nil, nil, 200), (.journal, nil, nil, 200),
            (.organization, "/v1/organizations/never-seen", nil, 200),
        ]
        let schemas = JSONSchema(document: document)
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        for (route, path, json, status) in requests {
            let path = path ?? route.path.replacing("{organization}", with: "acme")
            let reply = try admin.send(route.method.rawValue, path, json: json)
            #expect(reply.status == status, "\(route.method.rawValue) \(path): \(reply)")
            let operation = try #require(paths[route.path]?[route.method.rawValue.lowercased()] as? [String: Any])
            let responses = try #require(operation["responses"] as? [String: [String: Any]])
            var response = try #require(responses["\(status)"] ?? responses["default"])
            if let reference = response["$ref"] as? String { response = schemas.resolve(reference) }
            guard let content = response["content"] as? [String: [String: Any]] else {
                #expect(reply.body.isEmpty)
                continue
            }
            #expect(reply["Content-Type"] == content.keys.first)
            let schema = try #require(content.values.first?["schema"] as? [String: Any])
            let found = schemas.violations(of: reply.json, by: schema)
            #expect(found == [], "\(route.method.rawValue) \(path): \(reply.body)")
        }
    }

    @Test("the schema check detects violations")
    func checkBites() {
        let schemas = JSONSchema(document: [:])
        let schema: [String: Any] = [
            "type": "object", "additionalProperties": false, "required": ["a"],
            "properties": ["a": ["type": "integer"], "b": ["type": ["string", "null"], "enum": ["x"]]],
        ]
        #expect(schemas.violations(of: ["a": 1, "b": NSNull()], by: schema).isEmpty)
        for wrong: [String: Any] in [["b": "x"], ["a": 1.5], ["a": true], ["a": 1, "b": "y"], ["a": 1, "c": 1]] {
            #expect(schemas.violations(of: wrong, by: schema).count == 1, "\(wrong)")
        }
    }
}
