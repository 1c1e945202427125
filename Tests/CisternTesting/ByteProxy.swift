import Foundation
import Synchronization

/// A TCP proxy with fault injection, on a free port of 127.0.0.1 in front of another port.
///
/// A fault is in effect when the method that sets it returns, for open and for new connections.
package final class ByteProxy: Sendable {
    /// Numbers of accepted and of open connections, and of bytes forwarded each way.
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

    /// Starts listening.
    package init(to target: Int) throws {
        loop = try ProxyLoop(target: target)
        port = loop.port
        Thread.detachNewThread { [loop] in loop.run() }
    }

    deinit {
        loop.stop()
    }

    package var counts: Counts { loop.state.withLock { $0.counts } }

    /// Delays bytes that arrive from now on, and keeps their order.
    package func delay(requestMilliseconds: Int = 0, replyMilliseconds: Int = 0) {
        loop.change { $0.faults.delays = [requestMilliseconds, replyMilliseconds].map { .milliseconds($0) } }
    }

    /// Resets all connections; bytes in transit are lost.
    package func cut() {
        loop.change { $0.cutAll() }
    }

    /// Cuts a reply: forwards `replyBytes` more bytes to clients, then closes the connection that got the last one.
    ///
    /// The close is graceful, not a reset, so that the client can read every byte.
    package func cutAfter(replyBytes: Int) {
        loop.change { $0.faults.bytesUntilCut = replyBytes }
    }

    /// Refuses new connections, as a port without a listener does; open ones continue.
    package func refuse(_ isOn: Bool) throws {
        try loop.refuse(isOn)
    }

    /// Goes silent: connections stay open and new ones succeed, but no byte and no end of stream arrives.
    ///
    /// As on a real network, no byte is lost while a connection lasts: bytes sent meanwhile arrive when the silence
    /// ends. Call `cut` first to discard them.
    package func blackhole(_ isOn: Bool) {
        blackhole(requests: isOn, replies: isOn)
    }

    /// Goes silent in one direction: requests do not arrive, or they are executed and their replies do not arrive.
    package func blackhole(requests: Bool, replies: Bool) {
        loop.change { $0.faults.silent = [requests, replies] }
    }

    /// Flips one bit of every byte of every reply, from now on.
    package func corrupt(_ isOn: Bool) {
        loop.change { $0.faults.isCorrupt = isOn }
    }

    /// Corrupts one byte of the replies, once: the byte at `offset`, counted from now.
    ///
    /// - Parameter mask: the bits to flip. The highest bit gives an invalid byte everywhere; the lowest turns 0 into 1.
    package func corruptNext(after offset: Int = 0, mask: UInt8 = 0x80) {
        loop.change { $0.faults.corruption = (offset, mask) }
    }

    /// Closes all connections, ends the thread and releases the port.
    package func stop() {
        loop.stop()
    }
}
