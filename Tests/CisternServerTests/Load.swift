import CisternProcesses
import CisternTesting
import Foundation
import Synchronization

/// Sends requests without a pause on a few connections, until it is stopped.
final class Load: Sendable {
    private struct Counts {
        var answered = 0
        var failed = 0
        var threads: Int
    }

    private let counts: Mutex<Counts>
    private let isStopping = Atomic(false)
    private let organizations: Int

    /// Starts the load on a server, spread over the organizations `org-0`, `org-1` and so on.
    init(port: Int, connections: Int = 4, organizations: Int = 100) {
        self.organizations = organizations
        counts = Mutex(Counts(threads: connections))
        for number in 0..<connections {
            Thread.detachNewThread { self.run(port: port, number: number) }
        }
    }

    private func run(port: Int, number: Int) {
        var answered = 0
        var failed = 0
        do {
            let connection = try Socket(port: port)
            while !isStopping.load(ordering: .relaxed) {
                let reply = try connection.exchange(HTTPRequestText.chat("org-\((answered + number) % organizations)"))
                if reply.status == 200 { answered += 1 } else { failed += 1 }
            }
        } catch {
            failed += 1
        }
        counts.withLock {
            $0.answered += answered
            $0.failed += failed
            $0.threads -= 1
        }
    }

    /// Stops the load, and returns how many requests got 200 and how many did not.
    func stop() async throws -> (answered: Int, failed: Int) {
        isStopping.store(true, ordering: .relaxed)
        try await eventually("the load to end") { self.counts.withLock { $0.threads == 0 } }
        return counts.withLock { ($0.answered, $0.failed) }
    }
}
