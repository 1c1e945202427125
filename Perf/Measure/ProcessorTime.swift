internal import Foundation

/// Processor time that processes have used, as the system counts it.
enum ProcessorTime {
    /// User and system time of some processes together, in microseconds; nil where the system does not tell (it is read
    /// from /proc).
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

    /// What this thread has used, in nanoseconds.
    static func nanosecondsOfThisThread() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// User and system time in a line of /proc/PID/stat; see proc(5).
    ///
    /// The program's name, in parentheses, may hold anything; what is wanted comes after its end.
    static func ticks(in text: String) -> (user: Double, system: Double)? {
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[end...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[12]), let system = Double(fields[13]) else { return nil }
        return (user, system)
    }
}
