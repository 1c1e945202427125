import CisternProcesses
import Foundation

/// Certificates for one test, made with openssl: a trusted authority, an untrusted one, and certificates of both.
///
/// All properties are paths of PEM files. The files are deleted when this object is released.
package final class TLSCertificates: Sendable {
    private let folder: TemporaryDirectory

    package var caFile: String { "\(folder.path)/ca.crt" }
    package var serverCert: String { "\(folder.path)/server.crt" }
    package var serverKey: String { "\(folder.path)/server.key" }
    package var clientCert: String { "\(folder.path)/client.crt" }
    package var clientKey: String { "\(folder.path)/client.key" }
    package var otherCAFile: String { "\(folder.path)/other-ca.crt" }
    package var otherClientCert: String { "\(folder.path)/other-client.crt" }
    package var otherClientKey: String { "\(folder.path)/other-client.key" }

    /// Makes the certificates.
    ///
    /// - Parameter serverNames: the server's names in openssl's syntax; other names give an invalid certificate.
    package init(serverNames: String = "DNS:localhost,IP:127.0.0.1") async throws {
        folder = try TemporaryDirectory()
        // Elliptic-curve keys are generated instantly; RSA keys take up to a second each.
        let script = """
            set -e; cd '\(folder.path)'
            curve='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
            authority() {
                openssl req -x509 $curve -keyout "$1.key" -out "$1.crt" -days 2 -subj "/CN=$1"
            }
            leaf() {
                openssl req $curve -keyout "$2.key" -out "$2.csr" -subj "/CN=$2"
                printf '%s\\n' "$3" > "$2.ext"
                openssl x509 -req -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 2 \
                    -extfile "$2.ext" -out "$2.crt"
            }
            authority ca
            authority other-ca
            leaf ca server 'subjectAltName=\(serverNames)'
            leaf ca client 'extendedKeyUsage=clientAuth'
            leaf other-ca other-client 'extendedKeyUsage=clientAuth'
            """
        let openssl = try ChildProcess("/bin/sh", ["-c", script])
        guard try await openssl.exitCode() == 0 else { throw ChildProcess.Failure(description: openssl.text) }
    }

    /// Arguments that make a redis-server present its certificate and, by default, require one from clients.
    package func serverArguments(authenticatingClients: Bool = true) -> [String] {
        [
            "--tls-cert-file", serverCert, "--tls-key-file", serverKey, "--tls-ca-cert-file", caFile,
            "--tls-auth-clients", authenticatingClients ? "yes" : "no",
        ]
    }

    /// Arguments that make redis-cli trust the server and present the client's certificate.
    package var clientArguments: [String] {
        ["--tls", "--cacert", caFile, "--cert", clientCert, "--key", clientKey]
    }
}
