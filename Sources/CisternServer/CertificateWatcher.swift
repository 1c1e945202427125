internal import CisternRedis
internal import Logging
internal import NIOSSL
internal import Synchronization

/// Reloads the certificates of the Redis connections when their files change, or on request.
final class CertificateWatcher: Sendable {
    private let store: RedisStore
    private let verification: CertificateVerification
    private let read: @Sendable () throws -> ServerSettings
    private let logger: Logger
    private let files: Mutex<[String: WatchedFile]>

    /// - Parameters:
    ///   - current: the settings that the store was made with.
    ///   - read: reads the settings again, including the certificates that they name.
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

    /// Checks the files once a second until the task is canceled.
    func run() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            if !Task.isCancelled { renewIfChanged() }
        }
    }

    /// Watched files whose current contents count as already applied.
    private static func watched(_ paths: [String]) -> [String: WatchedFile] {
        var files: [String: WatchedFile] = [:]
        for path in paths {
            var file = WatchedFile()
            if let snapshot = WatchedFile.snapshot(at: path) { file.take(snapshot) }
            files[path] = file
        }
        return files
    }

    private func renewIfChanged() {
        let hasChanged = files.withLock { files in
            // Checks every file instead of stopping at the first change: a certificate and its key change one by one.
            files.keys.reduce(false) { hasChanged, path in
                let settled = WatchedFile.snapshot(at: path).flatMap { files[path]?.settle($0) }
                return hasChanged || settled != nil
            }
        }
        guard hasChanged else { return }
        do {
            renew(try read())
        } catch {
            // The key may not match the certificate yet, or a symbolic link may dangle: try again later.
            files.withLock { files in for path in files.keys { files[path] = WatchedFile() } }
            logger.warning("changed certificates cannot be loaded yet, will retry", metadata: ["reason": "\(error)"])
        }
    }

    /// Uses the certificates of these settings for new connections; open connections keep theirs.
    func renew(_ settings: ServerSettings) {
        guard var tls = settings.redis?.settings.tls, !settings.certificatePaths.isEmpty else { return }
        // Changing the verification needs a restart, like every other connection setting.
        tls.certificateVerification = verification
        do {
            let watched = Self.watched(settings.certificatePaths)
            try store.renew(tls: tls)
            files.withLock { $0 = watched }
            logger.notice("certificates reloaded", metadata: ["files": "\(settings.certificatePaths)"])
        } catch {
            logger.error("the certificates are invalid, keeping the previous ones", metadata: ["reason": "\(error)"])
        }
    }
}
