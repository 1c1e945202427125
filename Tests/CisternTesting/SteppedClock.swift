import CisternProcesses

#if os(Linux)
    import Foundation

    /// A preloaded library that gives a process its own wall clock, which a test steps forward and back.
    ///
    /// It is compiled with the C compiler that comes with Swift.
    package final class SteppedClock: Sendable {
        private let folder: TemporaryDirectory
        private var offsetPath: String { folder.path + "/offset" }
        private var libraryPath: String { folder.path + "/clock.so" }

        private static let source = """
            #define _GNU_SOURCE
            #include <fcntl.h>
            #include <stdint.h>
            #include <stdlib.h>
            #include <sys/mman.h>
            #include <sys/syscall.h>
            #include <sys/time.h>
            #include <time.h>
            #include <unistd.h>

            static volatile int64_t none, *milliseconds = &none;

            __attribute__((constructor)) static void begin(void) {
                const char *path = getenv("STEPPED_CLOCK");
                int file = path ? open(path, O_RDONLY) : -1;
                if (file < 0) return;
                void *page = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
                if (page != MAP_FAILED) milliseconds = page;
                close(file);
            }

            int clock_gettime(clockid_t id, struct timespec *time) {
                int result = syscall(SYS_clock_gettime, id, time);
                if (result != 0 || id != CLOCK_REALTIME) return result;
                int64_t all = time->tv_nsec + *milliseconds % 1000 * 1000000;
                time->tv_sec += *milliseconds / 1000 + (all < 0 ? -1 : all / 1000000000);
                time->tv_nsec = all < 0 ? all + 1000000000 : all % 1000000000;
                return 0;
            }

            int gettimeofday(struct timeval *restrict time, void *restrict zone) {
                struct timespec now;
                clock_gettime(CLOCK_REALTIME, &now);
                time->tv_sec = now.tv_sec;
                time->tv_usec = now.tv_nsec / 1000;
                return 0;
            }

            time_t time(time_t *result) {
                struct timespec now;
                clock_gettime(CLOCK_REALTIME, &now);
                if (result) *result = now.tv_sec;
                return now.tv_sec;
            }
            """

        package init() async throws {
            folder = try TemporaryDirectory()
            try Self.source.write(toFile: folder.path + "/clock.c", atomically: true, encoding: .utf8)
            try Data(count: 8).write(to: URL(fileURLWithPath: offsetPath))
            let compiler = try ChildProcess(
                "env", ["clang", "-shared", "-fPIC", "-O1", "-o", libraryPath, folder.path + "/clock.c"])
            let code = try await compiler.exitCode()
            guard code == 0 else { throw ChildProcess.Failure(description: "clang: \(compiler.text)") }
        }

        /// The environment variables of a process that should use this clock.
        package var environment: [String: String] { ["LD_PRELOAD": libraryPath, "STEPPED_CLOCK": offsetPath] }

        /// Sets how far the clock is ahead of the system's clock, in milliseconds; negative for behind.
        package func set(aheadMilliseconds: Int64) throws {
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: offsetPath))
            defer { try? file.close() }
            try file.write(contentsOf: withUnsafeBytes(of: aheadMilliseconds) { Data($0) })
        }
    }
#endif
