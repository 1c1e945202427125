internal import Cistern
internal import NIOCore

/// Caches the wall clock, which is read about once a second, and the response texts that depend on it.
struct DateCache {
    /// The Unix time minus the time on the limiter's clock, in milliseconds.
    private var offsetMilliseconds: Int64 = 0
    private var second: Int64 = -1
    /// The head of a 200 response, up to the request ID.
    private(set) var okHead: [UInt8] = []
    /// The value of the `Date` header.
    private(set) var httpDate: [UInt8] = []
    /// A scratch buffer; reused, because the reset time changes often if there are many organizations.
    private var text = ByteBuffer()
    /// The Unix second that ``reset`` shows; cached, because most responses have the same one.
    private var resetSecond: Int64 = -1
    private(set) var reset: [UInt8] = []

    /// Advances the cache to `now`, and reads the wall clock if a new second has begun.
    mutating func advance(to now: Instant, unixMilliseconds: () -> Int64) {
        if (now.milliseconds + offsetMilliseconds) / 1000 == second { return }
        let wall = unixMilliseconds()
        offsetMilliseconds = wall - now.milliseconds
        second = wall / 1000
        text.clear()
        text.writeHTTPDate(Timestamp(unixMilliseconds: wall))
        httpDate = Array(text.readableBytesView)
        okHead = Array("HTTP/1.1 200 OK\r\nDate: ".utf8) + httpDate + Array("\r\nX-Request-ID: ".utf8)
    }

    /// Sets ``reset`` to `instant`, rounded up to the second so that a client that waits for it is not early.
    mutating func setReset(to instant: Instant) {
        let milliseconds = instant.milliseconds + offsetMilliseconds
        let second = milliseconds / 1000 + (milliseconds % 1000 > 0 ? 1 : 0)
        guard second != resetSecond else { return }
        resetSecond = second
        text.clear()
        text.writeSeconds(of: Timestamp(unixSeconds: second))
        reset.removeAll(keepingCapacity: true)
        reset.append(contentsOf: text.readableBytesView)
    }

    func timestamp(_ instant: Instant) -> Timestamp {
        Timestamp(unixMilliseconds: instant.milliseconds + offsetMilliseconds)
    }
}
