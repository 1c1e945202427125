import Foundation

/// One connection through a proxy, used only under the lock of its loop.
final class ProxyConnection {
    /// Content read from one end, to be forwarded to the other end when due.
    private enum Content {
        case bytes([UInt8])
        case end
        case reset
    }

    private struct Direction {
        let from: Int32
        let to: Int32
        var queue: [(due: ContinuousClock.Instant, content: Content)] = []
        var queuedBytes = 0
        /// Whether the end of the stream was read, and whether it was forwarded.
        var isRead = false
        var isDone = false

        /// Whether more may be read; at most about 1 MiB is queued while the other end reads nothing.
        var wantsMore: Bool { !isRead && queuedBytes < 1 << 20 }
    }

    private let client: Int32
    private let server: Int32
    /// Requests at index 0, replies at index 1.
    private var directions: [Direction]
    private(set) var isClosed = false

    init(client: Int32, target: Int) {
        self.client = client
        server = ProxySocket.connecting(to: target)
        directions = [Direction(from: client, to: server), Direction(from: server, to: client)]
    }

    /// Closes both ends.
    func close(reset: Bool) {
        guard !isClosed else { return }
        isClosed = true
        ProxySocket.end(client, reset: reset)
        ProxySocket.end(server, reset: reset)
    }

    /// Reads and forwards as much as possible without blocking.
    func move(_ faults: inout ProxyFaults, _ counts: inout ByteProxy.Counts, now: ContinuousClock.Instant) {
        // Replies first: the server's end of stream must not overtake its replies.
        for index in [1, 0] where !faults.silent[index] && !isClosed {
            take(index, &faults, now: now)
            handOn(index, &faults, &counts, now: now)
        }
        if directions.allSatisfy(\.isDone) { close(reset: false) }
    }

    private func take(_ index: Int, _ faults: inout ProxyFaults, now: ContinuousClock.Instant) {
        // Keeps the order, even if the delay was shortened.
        let due = max(now + faults.delays[index], directions[index].queue.last?.due ?? now)
        while directions[index].wantsMore {
            var bytes = [UInt8](repeating: 0, count: 65536)
            let count = recv(directions[index].from, &bytes, bytes.count, 0)
            if count > 0 {
                bytes.removeLast(bytes.count - count)
                if index == 1 { faults.spoil(&bytes) }
                directions[index].queue.append((due, .bytes(bytes)))
                directions[index].queuedBytes += count
            } else if count == 0 {
                directions[index].queue.append((due, .end))
                directions[index].isRead = true
            } else {
                if errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR { return }
                directions[index].queue.append((due, .reset))
                directions[index].isRead = true
            }
        }
    }

    private func handOn(
        _ index: Int, _ faults: inout ProxyFaults, _ counts: inout ByteProxy.Counts, now: ContinuousClock.Instant
    ) {
        while !isClosed, let (due, content) = directions[index].queue.first, due <= now {
            switch content {
            case .reset:
                close(reset: true)
            case .end:
                shutdown(directions[index].to, Int32(SHUT_WR))
                directions[index].queue.removeFirst()
                directions[index].isDone = true
            case .bytes(let bytes):
                let allowed = index == 1 ? min(bytes.count, faults.bytesUntilCut ?? bytes.count) : bytes.count
                let count = allowed == 0 ? 0 : send(directions[index].to, bytes, allowed, Int32(MSG_NOSIGNAL))
                guard count >= 0 else {
                    if errno != EAGAIN, errno != EWOULDBLOCK, errno != EINTR { close(reset: true) }
                    return
                }
                sent(count, of: bytes, index, &faults, &counts)
            }
        }
    }

    /// Counts the forwarded bytes, keeps the rest, and closes the connection once the cut is reached.
    private func sent(
        _ count: Int, of bytes: [UInt8], _ index: Int, _ faults: inout ProxyFaults, _ counts: inout ByteProxy.Counts
    ) {
        directions[index].queuedBytes -= count
        if count == bytes.count {
            directions[index].queue.removeFirst()
        } else {
            directions[index].queue[0].content = .bytes(Array(bytes[count...]))
        }
        guard index == 1 else {
            counts.requestBytes += count
            return
        }
        counts.replyBytes += count
        guard let left = faults.bytesUntilCut else { return }
        faults.bytesUntilCut = left > count ? left - count : nil
        if left <= count { close(reset: false) }
    }

    /// The descriptors and events for which the loop should poll.
    ///
    /// A descriptor without an awaited event is left out, because `poll` would report its errors again and again.
    func awaited(_ faults: ProxyFaults, now: ContinuousClock.Instant) -> [pollfd] {
        var awaited: [pollfd] = []
        for (index, direction) in directions.enumerated() where !faults.silent[index] {
            if direction.wantsMore {
                awaited.append(pollfd(fd: direction.from, events: Int16(POLLIN), revents: 0))
            }
            // Content that is due and still queued could not be sent.
            if let first = direction.queue.first, first.due <= now {
                awaited.append(pollfd(fd: direction.to, events: Int16(POLLOUT), revents: 0))
            }
        }
        return awaited
    }

    /// When the next delayed content is due.
    func nextDue(_ faults: ProxyFaults, now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        directions.enumerated()
            .compactMap { index, direction in faults.silent[index] ? nil : direction.queue.first?.due }
            .filter { $0 > now }.min()
    }
}
