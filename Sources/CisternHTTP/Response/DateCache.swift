internal import Cistern
internal import NIOCore

/// What the wall clock says, read about once a second, and the texts of answers that change no more often.
struct DateCache {
    /// Milliseconds from the decisions' clock to 1970-01-01 UTC.
    private var offsetMilliseconds: Int64 = 0
    private var second: Int64 = -1
    /// An answer of 200 up to where its id stands.
    private(set) var okHead: [UInt8] = []
    /// The value of the `Date` header.
    private(set) var httpDate: [UInt8] = []
    /// Where a text is written first; kept, as answers of many organizations name many seconds.
    private var text = ByteBuffer()
    /// The last second that was written as a time of reset, and how: most answers have the same one.
    private var resetSecond: Int64 = -1
    private(set) var reset: [UInt8] = []

    /// Turns to `now`; the wall clock is read where a new second has begun by its last reading.
    mutating func turn(to now: Instant, unixMilliseconds: () -> Int64) {
        if (now.milliseconds + offsetMilliseconds) / 1000 == second { return }
        let wall = unixMilliseconds()
        offsetMilliseconds = wall - now.milliseconds
        second = wall / 1000
        text.clear()
        text.writeHTTPDate(Timestamp(unixMilliseconds: wall))
        httpDate = Array(text.readableBytesView)
        okHead = Array("HTTP/1.1 200 OK\r\nDate: ".utf8) + httpDate + Array("\r\nX-Request-ID: ".utf8)
    }

    /// Sees to it that ``reset`` says when that is, rounded up to the second: a client that waits for it must not come
    /// early.
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
