package import Foundation

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// Detects changes of a file while the server runs.
///
/// A pure state machine: it takes snapshots of the file and returns each new one that has settled. A snapshot has
/// settled once two in a row are equal, because a single one may catch a partial write.
package struct WatchedFile {
    /// A snapshot of a file.
    package enum Snapshot: Equatable, Sendable {
        case contents(Data)
        /// The file cannot be read, for this reason.
        case unreadable(String)
    }

    private var seen: Snapshot?
    private var taken: Snapshot?

    package init() {}

    /// Records a snapshot; returns it if it equals the previous one and differs from the last one taken.
    package mutating func settle(_ look: Snapshot) -> Snapshot? {
        defer { seen = look }
        guard look == seen, look != taken else { return nil }
        taken = look
        return look
    }

    /// Marks a snapshot as taken without waiting for it to settle.
    package mutating func take(_ look: Snapshot) {
        (seen, taken) = (look, look)
    }

    /// Takes a snapshot of a file; nil if it is not a regular file, such as a pipe.
    package static func look(at path: String) -> Snapshot? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            return .unreadable(errno == ENOENT ? "there is no such file" : String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        do {
            return .contents(try Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            return .unreadable(readable(error))
        }
    }
}
