// swift-tools-version: 6.2

import PackageDescription

// Debian installs both libraries on the compiler's default paths; Homebrew's need pkg-config.
#if os(macOS)
    let hiredisPkgConfig: String? = "hiredis"
    let jemallocPkgConfig: String? = "jemalloc"
#else
    let hiredisPkgConfig: String? = nil
    let jemallocPkgConfig: String? = nil
#endif

let package = Package(
    name: "cistern",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "Cistern", targets: ["Cistern"]),
        .library(name: "CisternClock", targets: ["CisternClock"]),
        .library(name: "CisternRedis", targets: ["CisternRedis"]),
        .executable(name: "cistern", targets: ["CisternCommand"]),
        .executable(name: "perf", targets: ["Perf"]),
    ],
    dependencies: [
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // System libraries. Debian: libhiredis-dev, libjemalloc-dev. Homebrew: hiredis, jemalloc.
        .systemLibrary(
            name: "CHiredis",
            pkgConfig: hiredisPkgConfig,
            providers: [.apt(["libhiredis-dev"]), .brew(["hiredis"])]
        ),
        .systemLibrary(
            name: "CJemalloc",
            pkgConfig: jemallocPkgConfig,
            providers: [.apt(["libjemalloc-dev"]), .brew(["jemalloc"])]
        ),
        // Processor hints and the tick counter, which Swift does not expose. They are separate because the engine
        // needs the hints but must not have a clock, and the counter is one.
        .systemLibrary(name: "CProcessorHints"),
        .systemLibrary(name: "CProcessorTicks"),

        // The layers, lowest first. A target may depend only on targets above it in this list;
        // Tests/RepositoryTests enforces this.
        .target(
            name: "Cistern",
            dependencies: [
                "CProcessorHints",
                .product(name: "DequeModule", package: "swift-collections"),
            ]
        ),
        .target(name: "CisternClock", dependencies: ["Cistern", "CProcessorTicks"]),
        .target(name: "CisternSupport", dependencies: ["Cistern"]),
        // Tables, plots and pages that commands print.
        .target(name: "CisternReport"),
        // Real processes for benchmarks and tests: redis-server, the programs of this package, a plain HTTP client.
        .target(name: "CisternProcesses"),
        .target(name: "CisternCluster", dependencies: ["Cistern"]),
        .target(
            name: "CisternRedis",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternSupport",
                "CHiredis",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ]
        ),
        .target(
            name: "CisternHTTP",
            dependencies: [
                "Cistern",
                "CisternSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ]
        ),
        .target(
            name: "CisternAdmin",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternSupport",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            resources: [.embedInCode("Page")]
        ),
        .target(
            name: "CisternSimulation",
            dependencies: ["Cistern", "CisternCluster", "CisternSupport"]
        ),
        .target(
            name: "CisternServer",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternSupport",
                "CisternRedis",
                "CisternHTTP",
                "CisternAdmin",
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
        .executableTarget(
            name: "CisternCommand",
            dependencies: [
                "Cistern",
                "CisternAdmin",
                "CisternCluster",
                "CisternRedis",
                "CisternReport",
                "CisternServer",
                "CisternSimulation",
                "CisternSupport",
                "CJemalloc",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]
        ),

        // Load benchmarks: `swift run perf`. They start `cistern serve`, so they depend on CisternCommand.
        .executableTarget(
            name: "Perf",
            dependencies: [
                "Cistern",
                "CisternClock",
                "CisternCommand",
                "CisternHTTP",
                "CisternRedis",
                "CisternProcesses",
                "CisternReport",
                "CisternServer",
                "CisternSupport",
                "CJemalloc",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            path: "Perf"
        ),

        // Shared test support: a manual clock, real processes, a plain HTTP client.
        .target(
            name: "CisternTesting",
            dependencies: [
                "Cistern", "CisternProcesses", "CisternSupport", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/CisternTesting"
        ),
        // The program whose instructions per decision PerfTests counts from outside, in a release build. It has few
        // dependencies so that it builds quickly.
        .executableTarget(name: "DecisionCount", dependencies: ["Cistern"], path: "Tests/DecisionCount"),
        // Real nodes that fail under load; run separately, so that no other test takes processor time from them.
        .testTarget(
            name: "FaultTests",
            dependencies: [
                "Cistern",
                "CisternSupport",
                "CisternRedis",
                "CisternProcesses",
                "CisternTesting",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "CisternServer", "CisternProcesses",
                "CisternTesting",
            ]),
        .testTarget(
            name: "PerfTests",
            dependencies: [
                "Cistern",
                "CisternServer",
                "CisternProcesses",
                "CisternTesting",
                "Perf",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]
        ),
        .testTarget(
            name: "AllocationTests",
            dependencies: [
                "Cistern", "CisternProcesses",
                "CisternTesting", "CJemalloc",
            ]),
        .testTarget(
            name: "DocumentationTests",
            dependencies: [
                "Cistern",
                "CisternCommand",
                "CisternRedis",
                "CisternServer",
                "CisternProcesses",
                "CisternTesting",
            ]
        ),
        .testTarget(
            name: "CisternTests",
            dependencies: [
                "Cistern", "CisternCluster", "CisternSupport", "CisternProcesses",
                "CisternTesting",
            ]),
        .testTarget(
            name: "CisternClusterTests",
            dependencies: [
                "Cistern", "CisternCluster", "CisternSupport", "CisternProcesses",
                "CisternTesting",
            ]),
        .testTarget(
            name: "CisternSupportTests",
            dependencies: [
                "Cistern", "CisternSupport", "CisternProcesses",
                "CisternTesting",
            ]),
        .testTarget(name: "CisternClockTests", dependencies: ["Cistern", "CisternClock"]),
        .testTarget(name: "CisternSimulationTests", dependencies: ["Cistern", "CisternSimulation", "CisternSupport"]),
        .testTarget(
            name: "CisternRedisTests",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternRedis",
                "CisternSupport",
                "CisternProcesses",
                "CisternTesting",
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]
        ),
        .testTarget(
            name: "CisternHTTPTests",
            dependencies: [
                "Cistern",
                "CisternSupport",
                "CisternHTTP",
                "CisternProcesses",
                "CisternTesting",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ]
        ),
        .testTarget(
            name: "CisternServerTests",
            dependencies: [
                "Cistern",
                "CisternAdmin",
                "CisternCluster",
                "CisternHTTP",
                "CisternRedis",
                "CisternServer",
                "CisternSupport",
                "CisternCommand",
                "CisternSimulation",
                "CisternProcesses",
                "CisternTesting",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "Yams", package: "Yams"),
            ]
        ),
    ]
)

for target in package.targets where target.type != .system {
    target.swiftSettings =
        (target.swiftSettings ?? []) + [
            .swiftLanguageMode(.v6),
            .enableUpcomingFeature("ExistentialAny"),
            .enableUpcomingFeature("InternalImportsByDefault"),
            .enableUpcomingFeature("MemberImportVisibility"),
            .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
            .treatAllWarnings(as: .error),
        ]
}
