internal import CisternRedis
internal import Logging
internal import NIOSSL
internal import Synchronization

/// Goes over to other certificates for the links to Redis when their files change, or when it is told to.
final class CertificateWatcher: Sendable {
    private let store: RedisStore
    private let verification: CertificateVerification
    private let read: @Sendable () throws -> ServerSettings
    private let logger: Logger
    private let files: Mutex<[String: WatchedFile]>

    /// - Parameters:
    ///   - current: the settings that the store was made with.
    ///   - read: reads the settings anew, with the certificates that they name.
    init(
        store: RedisStore, current: ServerSettings, read: @escaping @Sendable () throws -> ServerSettings,
        logger: Logger
    ) {
        self.store = store
        self.read = read
        self.logger = logger
        verification = current.redis?.settings.tls.certificateVerification ?? .fullVerification
        files = Mutex(Self.watched(current.certificatePaths))
    }

    /// Looks at the files once a second, until the task is canceled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { renewIfChanged() }
        }
    }

    /// Files that have been taken in as they are now.
    private static func watched(_ paths: [String]) -> [String: WatchedFile] {
        var files: [String: WatchedFile] = [:]
        for path in paths {
            var file = WatchedFile()
            if let look = WatchedFile.look(at: path) { file.take(look) }
            files[path] = file
        }
        return files
    }

    private func renewIfChanged() {
        let hasChanged = files.withLock { files in
            // All are looked at: a certificate and its key change one after the other.
            files.keys.reduce(false) { hasChanged, path in
                let settled = WatchedFile.look(at: path).flatMap { files[path]?.settle($0) }
                return hasChanged || settled != nil
            }
        }
        guard hasChanged else { return }
        do {
            renew(try read())
        } catch {
            // A certificate without its key yet, or a name that does not lead anywhere now: it is tried again.
            files.withLock { files in for path in files.keys { files[path] = WatchedFile() } }
            logger.warning("changed certificates are not used yet", metadata: ["reason": "\(error)"])
        }
    }

    /// Makes connections with the certificates of these settings from now on; those that are open stay.
    func renew(_ settings: ServerSettings) {
        guard var tls = settings.redis?.settings.tls, !settings.certificatePaths.isEmpty else { return }
        // What is checked of a certificate needs a restart, as any other setting of the link.
        tls.certificateVerification = verification
        do {
            let watched = Self.watched(settings.certificatePaths)
            try store.renew(tls: tls)
            files.withLock { $0 = watched }
            logger.notice("certificates are read anew", metadata: ["files": "\(settings.certificatePaths)"])
        } catch {
            logger.error("the certificates are refused, keeping the previous ones", metadata: ["reason": "\(error)"])
        }
    }
}
