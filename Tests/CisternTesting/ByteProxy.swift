import Foundation
import Synchronization

/// A network that a test can break: a TCP proxy on a free port of 127.0.0.1, in front of another port.
///
/// What a control is set to holds from its return on, for open connections and for new ones.
package final class ByteProxy: Sendable {
    /// How many connections were accepted, how many are open, and how many bytes went on each way.
    package struct Counts: Sendable, Equatable {
        package var accepted = 0
        package var open = 0
        /// From clients to the server.
        package var requestBytes = 0
        /// From the server to clients.
        package var replyBytes = 0
    }

    package let port: Int
    private let loop: ProxyLoop

    /// Starts to listen.
    package init(to target: Int) throws {
        loop = try ProxyLoop(target: target)
        port = loop.port
        Thread.detachNewThread { [loop] in loop.run() }
    }

    deinit {
        loop.stop()
    }

    package var counts: Counts { loop.state.withLock { $0.counts } }

    /// Lets bytes that come from now on wait before they go on, in their order.
    package func delay(requestMilliseconds: Int = 0, replyMilliseconds: Int = 0) {
        loop.change { $0.faults.delays = [requestMilliseconds, replyMilliseconds].map { .milliseconds($0) } }
    }

    /// Resets all connections; bytes that were on their way are lost.
    package func cut() {
        loop.change { $0.cutAll() }
    }

    /// Cuts in the middle of a reply: lets so many bytes more go to clients, and ends the connection that got the last.
    ///
    /// The connection ends in order, not by a reset, so that its client surely reads every byte.
    package func cutAfter(replyBytes: Int) {
        loop.change { $0.faults.bytesUntilCut = replyBytes }
    }

    /// Refuses new connections, as if nobody listened; open ones go on.
    package func refuse(_ isOn: Bool) throws {
        try loop.refuse(isOn)
    }

    /// Goes silent: connections stay open and new ones succeed, but nothing arrives anywhere, not even their end.
    ///
    /// As on a real network, nothing is lost while a connection lasts: when the silence ends, what was sent arrives.
    /// Call `cut` before, where it should not.
    package func blackhole(_ isOn: Bool) {
        blackhole(requests: isOn, replies: isOn)
    }

    /// Goes silent in one direction only: the server does what it is asked, and nobody learns of it, or nobody asks.
    package func blackhole(requests: Bool, replies: Bool) {
        loop.change { $0.faults.silent = [requests, replies] }
    }

    /// Turns one bit of every byte of every reply, from now on.
    package func corrupt(_ isOn: Bool) {
        loop.change { $0.faults.isCorrupt = isOn }
    }

    /// Changes one byte of the replies that come from now on, once: the one after `offset` others.
    ///
    /// - Parameter mask: the bits to turn. The highest makes no sense anywhere; the lowest makes 1 of 0.
    package func corruptNext(after offset: Int = 0, mask: UInt8 = 0x80) {
        loop.change { $0.faults.corruption = (offset, mask) }
    }

    /// Ends all connections and the thread, and gives the port back.
    package func stop() {
        loop.stop()
    }
}
