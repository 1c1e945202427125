internal import Cistern
internal import NIOCore
internal import Synchronization

/// What the connections of one event loop share, so that they share nothing with those of others.
///
/// It lives on its event loop, except the statistics.
final class LoopContext {
    /// Requests counted on this loop; any thread may read them.
    final class Statistics: Sendable {
        let mutex = Mutex(HTTPStatistics())
    }

    let clock: any TimeSource
    let statistics: Statistics
    /// Room for one body after the other.
    var scratch = ByteBuffer()
    private let unixMilliseconds: @Sendable () -> Int64
    private var ids: RequestIDGenerator
    private var calendar = AnswerWriter.Calendar(offsetMilliseconds: 0, httpDate: ByteBuffer())
    private var calendarSecond: Int64 = -1

    init(clock: any TimeSource, unixMilliseconds: @escaping @Sendable () -> Int64, statistics: Statistics) {
        self.clock = clock
        self.unixMilliseconds = unixMilliseconds
        self.statistics = statistics
        var system = SystemRandomNumberGenerator()
        ids = RequestIDGenerator(seededBy: &system)
    }

    /// A fresh request id.
    func nextID() -> RequestID {
        RequestID(using: &ids)
    }

    /// The calendar at `now`.
    ///
    /// The wall clock is read when a new second has begun by its last reading.
    func calendar(at now: Instant) -> AnswerWriter.Calendar {
        if (now.milliseconds + calendar.offsetMilliseconds) / 1000 != calendarSecond || calendarSecond < 0 {
            let wall = unixMilliseconds()
            calendar.offsetMilliseconds = wall - now.milliseconds
            calendarSecond = wall / 1000
            var date = ByteBuffer()
            date.writeHTTPDate(Timestamp(unixMilliseconds: wall))
            calendar.httpDate = date
        }
        return calendar
    }

    func count(_ route: Route, _ status: Status, nanoseconds: Int64) {
        statistics.mutex.withLock { $0.count(route, status, nanoseconds: nanoseconds) }
    }
}
