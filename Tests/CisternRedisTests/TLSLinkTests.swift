import Cistern
import CisternProcesses
import CisternTesting
import Foundation
import NIOSSL
import Testing

@testable import CisternRedis

/// Links to real redis-servers that speak TLS.
@Suite("A TLS link")
struct TLSLinkTests {
    private func failure(
        _ url: String, serverName: String? = nil, _ change: (inout TLSConfiguration) throws -> Void
    ) async throws -> NodeFailure? {
        var settings = RedisSettings()
        settings.serverName = serverName
        try change(&settings.tls)
        let store = try RedisStore(
            endpoints: [RedisEndpoint(url: url)], settings: settings,
            environment: StoreEnvironment(clock: ClockTimeSource(ContinuousClock())))
        await store.start()
        let report = store.reports[0]
        await store.stop()
        // A node must not be down without a reason.
        return report.isUp ? nil : report.nodeFailure ?? NodeFailure(.error, "no reason")
    }

    @Test("the store presents its client certificate if the node requires one, and fails without a trusted one")
    func clientCertificates() async throws {
        let certificates = try await TLSCertificates()
        let redis = try await RedisServer(certificates.serverArguments(), tls: true)
        let url = "rediss://127.0.0.1:\(redis.port)"
        func show(_ certificate: String, _ key: String) -> (inout TLSConfiguration) throws -> Void {
            { tls in
                tls.trustRoots = .file(certificates.caFile)
                tls.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) }
                tls.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            }
        }
        #expect(try await failure(url, show(certificates.clientCert, certificates.clientKey)) == nil)
        let none = try await failure(url) { $0.trustRoots = .file(certificates.caFile) }
        #expect(none?.kind == .tls, "\(String(describing: none))")
        let wrong = try await failure(url, show(certificates.otherClientCert, certificates.otherClientKey))
        #expect(wrong?.kind == .tls, "\(String(describing: wrong))")
    }

    @Test("the store verifies the signer of the node's certificate, and the name in it unless that is disabled")
    func serverCertificates() async throws {
        let certificates = try await TLSCertificates(serverNames: "DNS:redis.internal")
        let redis = try await RedisServer(certificates.serverArguments(authenticatingClients: false), tls: true)
        let url = "rediss://127.0.0.1:\(redis.port)"
        let misnamed = try await failure(url) { $0.trustRoots = .file(certificates.caFile) }
        #expect(misnamed?.kind == .tls, "\(String(describing: misnamed))")
        #expect(
            try await failure(url, serverName: "redis.internal") { $0.trustRoots = .file(certificates.caFile) } == nil)
        let other = try await failure(url, serverName: "redis.external") { $0.trustRoots = .file(certificates.caFile) }
        #expect(other?.kind == .tls)
        let unnamed = try await failure(url) {
            $0.trustRoots = .file(certificates.caFile)
            $0.certificateVerification = .noHostnameVerification
        }
        #expect(unnamed == nil)
        let stranger = try await failure(url) {
            $0.trustRoots = .file(certificates.otherCAFile)
            $0.certificateVerification = .noHostnameVerification
        }
        #expect(stranger?.kind == .tls)
        #expect(stranger?.message.contains("CERTIFICATE_VERIFY_FAILED") == true)
    }

    @Test("the store does not mistake a node without TLS for one with TLS, or the reverse")
    func mixedUp() async throws {
        let plain = try await RedisServer()
        let secure = try await failure("rediss://127.0.0.1:\(plain.port)") { _ in }
        #expect([.tls, .closed, .timeout].contains(secure?.kind), "\(String(describing: secure))")
        let certificates = try await TLSCertificates()
        let redis = try await RedisServer(certificates.serverArguments(authenticatingClients: false), tls: true)
        let unsecured = try await failure("redis://127.0.0.1:\(redis.port)") { _ in }
        #expect([.protocol, .closed].contains(unsecured?.kind), "\(String(describing: unsecured))")
    }
}
