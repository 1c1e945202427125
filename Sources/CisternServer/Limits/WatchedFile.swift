package import Foundation

#if canImport(Darwin)
    internal import Darwin
#else
    internal import Glibc
#endif

/// A file that may change while the server runs, and what of it has been taken in.
///
/// A pure state machine: each look goes in, and a state that has settled and is new comes out. A file that is being
/// written may look whole and not be, so a state counts once two looks in a row have found it.
package struct WatchedFile {
    /// What a look at a file finds.
    package enum Look: Equatable, Sendable {
        case contents(Data)
        /// It cannot be read, for this reason.
        case unreadable(String)
    }

    private var seen: Look?
    private var taken: Look?

    package init() {}

    /// Takes a look in; returns it where it is the second one alike and has not been taken yet.
    package mutating func settle(_ look: Look) -> Look? {
        defer { seen = look }
        guard look == seen, look != taken else { return nil }
        taken = look
        return look
    }

    /// Notes what has been taken in without waiting for it to settle.
    package mutating func take(_ look: Look) {
        (seen, taken) = (look, look)
    }

    /// Looks at a file; nil where it is none whose contents stay, such as a pipe.
    package static func look(at path: String) -> Look? {
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
