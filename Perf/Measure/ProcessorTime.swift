internal import Foundation

/// Processor time of processes and threads, as the system counts it.
enum ProcessorTime {
    /// Returns the user and system time of processes, in microseconds; nil if /proc does not provide it.
    ///
    /// Resolution: a hundredth of a second.
    static func microseconds(of processes: [Int32]) -> Double? {
        var sum = 0.0
        for process in processes {
            guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
                let (user, system) = ticks(in: text)
            else { return nil }
            sum += user + system
        }
        return sum / Double(sysconf(Int32(_SC_CLK_TCK))) * 1_000_000
    }

    /// Returns the processor time of this thread, in nanoseconds.
    static func nanosecondsOfThisThread() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Returns the user and system time in a line of /proc/PID/stat, in clock ticks; see proc(5).
    ///
    /// The program's name in parentheses may contain any character, so fields are counted from the last parenthesis.
    static func ticks(in text: String) -> (user: Double, system: Double)? {
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[end...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return nil }
        return (user, system)
    }
}
