import Testing

@Suite("The layers")
struct LayerTests {
    /// The modules that each module may import, including modules of other packages.
    ///
    /// A module imports only modules of lower layers.
    private static let allowed: [String: Set<String>] = [
        "Cistern": [
            "Configuration", "CProcessorHints", "CProcessorTicks", "Darwin", "DequeModule", "Glibc", "Instrumentation",
            "Metrics", "Musl", "ServiceLifecycle", "Synchronization", "Tracing",
        ],
        "CisternTestSupport": ["Cistern", "Synchronization"],
        "CisternSupport": ["Cistern"],
        "CisternCluster": ["Cistern"],
        "CisternHummingbird": [
            "Cistern", "Foundation", "HTTPTypes", "Hummingbird", "Logging", "NIOCore", "Synchronization",
        ],
        "CisternReport": ["Foundation"],
        "CisternProcesses": ["Foundation", "Synchronization"],
        "CisternRedis": [
            "Cistern", "CisternCluster", "CisternSupport", "CHiredis", "Configuration", "DequeModule", "Foundation",
            "Logging",
            "NIOCore", "NIOPosix", "NIOSSL",
            "Synchronization", "Tracing",
        ],
        "CisternHTTP": [
            "Cistern", "CisternSupport", "Darwin", "Glibc", "Logging", "NIOCore", "NIOPosix", "Synchronization",
        ],
        "CisternAdmin": [
            "Cistern", "CisternCluster", "CisternSupport", "Darwin", "Foundation", "Glibc", "HTTPTypes", "Hummingbird",
            "HummingbirdCore", "Logging",
            "NIOCore", "NIOPosix", "Synchronization",
        ],
        "CisternSimulation": ["Cistern", "CisternCluster", "CisternSupport", "Synchronization"],
        "CisternServer": [
            "Cistern", "CisternCluster", "CisternSupport", "CisternRedis", "CisternHTTP", "CisternAdmin",
            "Configuration", "Darwin", "Dispatch",
            "Foundation",
            "Glibc", "Logging",
            "NIOCore", "NIOPosix", "NIOSSL", "ServiceLifecycle", "UnixSignals", "Synchronization", "Yams",
        ],
        "CisternCommand": [
            "ArgumentParser", "AsyncHTTPClient", "CJemalloc", "Cistern", "CisternAdmin", "CisternCluster",
            "CisternRedis", "CisternReport", "CisternServer", "CisternSimulation", "CisternSupport", "Darwin",
            "Foundation", "Glibc",
            "Logging", "NIOCore", "NIOHTTP1",
            "NIOPosix",
            "ServiceLifecycle", "UnixSignals",
        ],
    ]

    /// The modules that the benchmarks may import: the measured modules, and test support for processes.
    private static let allowedForPerf: Set<String> = [
        "ArgumentParser", "CJemalloc", "Cistern", "CisternHTTP", "CisternRedis", "CisternServer",
        "CisternSupport", "CisternProcesses", "CisternReport",
        "DequeModule", "Foundation", "HeapModule", "Histogram", "Logging", "NIOCore", "NIOPosix", "Synchronization",
        "UnixSignals",
    ]

    @Test("every module imports only modules of lower layers", arguments: allowed.keys.sorted() + ["Perf"])
    func modulesDependDownward(module: String) throws {
        let isPerf = module == "Perf"
        let allowed = isPerf ? Self.allowedForPerf : try #require(Self.allowed[module])
        let files = try Repository.swiftFiles(below: isPerf ? "Perf" : "Sources/\(module)")
        #expect(!files.isEmpty)
        for file in files {
            for name in file.imports { #expect(allowed.contains(name), "\(file.path) imports \(name)") }
        }
    }

    @Test("every folder of Sources is a known module")
    func noOtherModules() throws {
        let modules = Set(try Repository.swiftFiles(below: "Sources").map { String($0.path.split(separator: "/")[1]) })
        #expect(modules == Set(Self.allowed.keys))
    }

    /// Words that would bring a clock, randomness, IO or threads into a pure module.
    private static let banned = [
        "ContinuousClock", "SuspendingClock", "Date(", "clock_gettime", "DispatchTime", "random(in", "randomElement",
        "shuffled()", "SystemRandom", "Hasher",
        "Task.sleep", " Task {", "Task.detached", "DispatchQueue", "Thread.", "print(", "FileHandle", "FileManager",
        "ProcessInfo", "getenv", "socket(", "readLine",
    ]

    /// The part of Cistern that users meet: it has a clock, and waits.
    private static let facade = "Sources/Cistern/RateLimiter/"

    @Test(
        "the engine and the pure modules have no clock, no randomness, no IO and no threads",
        arguments: ["Cistern", "CisternCluster", "CisternSupport"])
    func pureModules(module: String) throws {
        for file in try Repository.swiftFiles(below: "Sources/\(module)") where !file.path.hasPrefix(Self.facade) {
            let imports: Set = ["Cistern", "CProcessorHints", "DequeModule", "Synchronization"]
            for name in file.imports { #expect(imports.contains(name), "\(file.path) imports \(name)") }
            for (number, line) in file.code.enumerated() {
                for word in Self.banned {
                    #expect(!line.contains(word), "\(file.path):\(number + 1) uses \(word)")
                }
            }
        }
    }

    @Test("the engine's only system call is the short sleep of a thread that waits for a shard's lock")
    func systemCalls() throws {
        let header = try Repository.text("Sources/CProcessorHints/hints.h")
        let functions = header.matches(of: /^(?:static inline void|int) (\w+)\(/.anchorsMatchLineEndings()).map {
            "\($0.1)"
        }
        #expect(functions == ["processor_fetch_line", "processor_pause", "usleep", "thread_sleep_briefly"])
        for file in try Repository.swiftFiles(below: "Sources") {
            let calls = file.code.contains { $0.contains("thread_sleep_briefly") || $0.contains("usleep(") }
            let isMeasuring = file.path == Self.facade + "HostSystem.swift"
            #expect(
                !calls || isMeasuring || file.path == "Sources/Cistern/Bucket/ShardLock.swift", "\(file.path) sleeps")
        }
    }

    @Test("the checks detect imports and banned words, and ignore comments and string literals")
    func checksDetectViolations() {
        let file = Repository.File(
            path: "x.swift",
            text: """
                internal import Foundation
                @testable import CisternHTTP
                // ContinuousClock in a comment
                let text = "Date( in a text"
                let now = ContinuousClock.now  // random
                """)
        #expect(file.imports == ["Foundation", "CisternHTTP"])
        let found = file.code.flatMap { line in Self.banned.filter { line.contains($0) } }
        #expect(found == ["ContinuousClock"])
    }
}
