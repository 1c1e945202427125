internal import Cistern
internal import Synchronization

/// This server's part of all limits on one node, whichever connection it is renewed over.
final class SharePart: Sendable {
    /// The name under which the node has it on record.
    let server: String
    let lease = Mutex(ShareLease())

    init(server: String) {
        self.server = server
    }
}
