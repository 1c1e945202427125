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

    /// Records a snapshot; returns it if it has settled and is new.
    ///
    /// It has settled if it equals the previous snapshot. It is new if it differs from the last one that this method
    /// returned or that ``take(_:)`` marked as handled.
    package mutating func settle(_ snapshot: Snapshot) -> Snapshot? {
        defer { seen = snapshot }
        guard snapshot == seen, snapshot != taken else { return nil }
        taken = snapshot
        return snapshot
    }

    /// Marks a snapshot as handled without waiting for it to settle.
    package mutating func take(_ snapshot: Snapshot) {
        (seen, taken) = (snapshot, snapshot)
    }

    /// Reads a snapshot of a file; nil if the path names anything but a regular file, for example a pipe.
    package static func snapshot(at path: String) -> Snapshot? {
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
