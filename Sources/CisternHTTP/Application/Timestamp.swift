internal import NIOCore

/// A date and time in UTC, split into calendar fields.
struct Timestamp: Equatable {
    let year: Int
    let month: Int
    let day: Int
    let hour: Int
    let minute: Int
    let second: Int
    let millisecond: Int
    /// 0 is Sunday.
    let weekday: Int

    /// The time this many seconds after 1970-01-01 UTC, clamped to the years 1970 to 9999.
    init(unixSeconds: Int64) {
        self.init(unixMilliseconds: min(unixSeconds, Self.lastMillisecond / 1000) * 1000)
    }

    /// The last millisecond of the year 9999, as a Unix time.
    private static let lastMillisecond: Int64 = 253_402_300_799_999

    /// The time this many milliseconds after 1970-01-01 UTC, clamped to the years 1970 to 9999.
    ///
    /// The algorithm is Howard Hinnant's "days to civil" ("chrono-compatible low-level date algorithms", 2013). It uses
    /// years that begin in March, so that the leap day comes last.
    init(unixMilliseconds: Int64) {
        let clamped = min(max(0, unixMilliseconds), Self.lastMillisecond)
        let (days, inDay) = clamped.quotientAndRemainder(dividingBy: 86_400_000)
        let shifted = Int(days) + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
        weekday = (Int(days) + 4) % 7
        hour = Int(inDay / 3_600_000)
        minute = Int(inDay / 60_000 % 60)
        second = Int(inDay / 1000 % 60)
        millisecond = Int(inDay % 1000)
    }
}

extension OutputRawSpan {
    /// Writes `2024-02-04T10:30:10`: ISO 8601, without a time zone.
    fileprivate mutating func append(dateAndTime time: Timestamp) {
        append(digits: time.year, count: 4)
        append(UInt8(ascii: "-"))
        append(digits: time.month, count: 2)
        append(UInt8(ascii: "-"))
        append(digits: time.day, count: 2)
        append(UInt8(ascii: "T"))
        append(time: time)
    }

    fileprivate mutating func append(time: Timestamp) {
        append(digits: time.hour, count: 2)
        append(UInt8(ascii: ":"))
        append(digits: time.minute, count: 2)
        append(UInt8(ascii: ":"))
        append(digits: time.second, count: 2)
    }
}

extension ByteBuffer {
    /// Writes `2024-02-04T10:30:10Z`: ISO 8601, with a precision of seconds.
    mutating func writeSeconds(of time: Timestamp) {
        writeWithOutputRawSpan(minimumWritableBytes: 20) { output in
            output.append(dateAndTime: time)
            output.append(UInt8(ascii: "Z"))
        }
    }

    /// Writes `2024-02-04T10:30:10.123Z`: ISO 8601, with a precision of milliseconds.
    mutating func writeMilliseconds(of time: Timestamp) {
        writeWithOutputRawSpan(minimumWritableBytes: 24) { output in
            output.append(dateAndTime: time)
            output.append(UInt8(ascii: "."))
            output.append(digits: time.millisecond, count: 3)
            output.append(UInt8(ascii: "Z"))
        }
    }

    /// Writes `Sun, 04 Feb 2024 10:30:10 GMT`: an HTTP date (RFC 9110, section 5.6.7).
    mutating func writeHTTPDate(_ time: Timestamp) {
        let weekdays: [StaticString] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months: [StaticString] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        writeWithOutputRawSpan(minimumWritableBytes: 29) { output in
            output.append(text: weekdays[time.weekday])
            output.append(text: ", ")
            output.append(digits: time.day, count: 2)
            output.append(text: " ")
            output.append(text: months[time.month - 1])
            output.append(text: " ")
            output.append(digits: time.year, count: 4)
            output.append(text: " ")
            output.append(time: time)
            output.append(text: " GMT")
        }
    }
}
