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

/// Products of other packages, each used only if a trait is enabled.
///
/// Without any trait, `Cistern` needs DequeModule alone: SwiftPM does not even resolve the other packages then.
func product(_ name: String, _ package: String, _ trait: String) -> Target.Dependency {
    .product(name: name, package: package, condition: .when(traits: [trait]))
}

func nio(_ name: String, _ trait: String) -> Target.Dependency { product(name, "swift-nio", trait) }
func logging(_ trait: String) -> Target.Dependency { product("Logging", "swift-log", trait) }

let package = Package(
    name: "cistern",
    platforms: [.macOS(.v26)],
    products: [
        .library(name: "Cistern", targets: ["Cistern"]),
        .library(name: "CisternHummingbird", targets: ["CisternHummingbird"]),
        .library(name: "CisternRedis", targets: ["CisternRedis"]),
        .library(name: "CisternTestSupport", targets: ["CisternTestSupport"]),
        .executable(name: "cistern", targets: ["CisternCommand"]),
        .executable(name: "perf", targets: ["Perf"]),
    ],
    traits: [
        .default(enabledTraits: ["Server"]),
        .trait(name: "Configuration", description: "Reads limits and settings from swift-configuration."),
        .trait(name: "Hummingbird", description: "CisternHummingbird.", enabledTraits: ["ServiceLifecycle"]),
        .trait(name: "Observability", description: "Reports to swift-metrics and swift-distributed-tracing."),
        .trait(name: "Redis", description: "CisternRedis."),
        .trait(name: "ServiceLifecycle", description: "Makes RateLimiter a Service of swift-service-lifecycle."),
        .trait(
            name: "Server", description: "The server, its commands and its benchmarks.",
            enabledTraits: ["Configuration", "Hummingbird", "Observability", "Redis"]),
    ],
    dependencies: [
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
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
                "CProcessorTicks",
                .product(name: "DequeModule", package: "swift-collections"),
                product("Configuration", "swift-configuration", "Configuration"),
                product("Metrics", "swift-metrics", "Observability"),
                product("ServiceLifecycle", "swift-service-lifecycle", "ServiceLifecycle"),
                product("Tracing", "swift-distributed-tracing", "Observability"),
            ]
        ),
        // A manual clock and a store in memory, for the tests of services that use the library.
        .target(name: "CisternTestSupport", dependencies: ["Cistern"]),
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
                logging("Redis"),
                nio("NIOCore", "Redis"),
                nio("NIOPosix", "Redis"),
                product("NIOSSL", "swift-nio-ssl", "Redis"),
                product("Configuration", "swift-configuration", "Configuration"),
                product("Tracing", "swift-distributed-tracing", "Redis"),
            ]
        ),
        .target(
            name: "CisternHummingbird",
            dependencies: [
                "Cistern",
                product("HTTPTypes", "swift-http-types", "Hummingbird"),
                product("Hummingbird", "hummingbird", "Hummingbird"),
                logging("Hummingbird"),
                nio("NIOCore", "Hummingbird"),
            ]
        ),
        .target(
            name: "CisternHTTP",
            dependencies: [
                "Cistern",
                "CisternSupport",
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOPosix", "Server"),
            ]
        ),
        .target(
            name: "CisternAdmin",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternSupport",
                product("HTTPTypes", "swift-http-types", "Server"),
                product("Hummingbird", "hummingbird", "Server"),
                product("HummingbirdCore", "hummingbird", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOPosix", "Server"),
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
                product("Configuration", "swift-configuration", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOPosix", "Server"),
                product("NIOSSL", "swift-nio-ssl", "Server"),
                product("ServiceLifecycle", "swift-service-lifecycle", "Server"),
                product("UnixSignals", "swift-service-lifecycle", "Server"),
                product("Yams", "Yams", "Server"),
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
                product("ArgumentParser", "swift-argument-parser", "Server"),
                product("AsyncHTTPClient", "async-http-client", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOHTTP1", "Server"),
                nio("NIOPosix", "Server"),
                product("ServiceLifecycle", "swift-service-lifecycle", "Server"),
                product("UnixSignals", "swift-service-lifecycle", "Server"),
            ]
        ),

        // Load benchmarks: `swift run perf`. They start `cistern serve`, so they depend on CisternCommand.
        .executableTarget(
            name: "Perf",
            dependencies: [
                "Cistern",
                "CisternCommand",
                "CisternHTTP",
                "CisternRedis",
                "CisternProcesses",
                "CisternReport",
                "CisternServer",
                "CisternSupport",
                "CJemalloc",
                product("ArgumentParser", "swift-argument-parser", "Server"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                product("Histogram", "hdrhistogram-swift", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOPosix", "Server"),
                product("UnixSignals", "swift-service-lifecycle", "Server"),
            ],
            path: "Perf"
        ),

        // Shared test support: a manual clock, real processes, a plain HTTP client.
        .target(
            name: "CisternTesting",
            dependencies: [
                "Cistern", "CisternProcesses", "CisternRedis", "CisternSupport", "CisternTestSupport",
                logging("Server"),
            ],
            path: "Tests/CisternTesting"
        ),
        // Real nodes that fail under load; run separately, so that no other test takes processor time from them.
        .testTarget(
            name: "FaultTests",
            dependencies: [
                "Cistern",
                "CisternSupport",
                "CisternRedis",
                "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
                logging("Server"),
                nio("NIOPosix", "Server"),
                product("NIOSSL", "swift-nio-ssl", "Server"),
            ]
        ),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "CisternServer", "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
            ]),
        .testTarget(
            name: "PerfTests",
            dependencies: [
                "Cistern",
                "CisternServer",
                "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
                "Perf",
                product("Histogram", "hdrhistogram-swift", "Server"),
                nio("NIOCore", "Server"),
            ]
        ),
        .testTarget(
            name: "AllocationTests",
            dependencies: [
                "Cistern", "CisternHummingbird", "CisternProcesses", "CisternTestSupport", "CisternTesting",
                "CJemalloc",
                product("HTTPTypes", "swift-http-types", "Server"),
                product("Hummingbird", "hummingbird", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOEmbedded", "Server"),
            ]),
        .testTarget(
            name: "DocumentationTests",
            dependencies: [
                "Cistern",
                "CisternCommand",
                "CisternHummingbird",
                product("Configuration", "swift-configuration", "Server"),
                product("HTTPTypes", "swift-http-types", "Server"),
                product("Hummingbird", "hummingbird", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOEmbedded", "Server"),
                nio("NIOHTTP1", "Server"),
                nio("NIOPosix", "Server"),
                product("ServiceLifecycle", "swift-service-lifecycle", "Server"),
                product("UnixSignals", "swift-service-lifecycle", "Server"),
                "CisternRedis",
                "CisternServer",
                "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
            ]
        ),
        .testTarget(
            name: "CisternTests",
            dependencies: [
                "Cistern", "CisternCluster", "CisternSupport", "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
            ]),
        .testTarget(
            name: "CisternClusterTests",
            dependencies: [
                "Cistern", "CisternCluster", "CisternSupport", "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
            ]),
        .testTarget(
            name: "CisternSupportTests",
            dependencies: [
                "Cistern", "CisternSupport", "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
            ]),
        .testTarget(
            name: "CisternHummingbirdTests",
            dependencies: [
                "Cistern", "CisternHummingbird", "CisternProcesses", "CisternTestSupport",
                product("HTTPTypes", "swift-http-types", "Server"),
                product("Hummingbird", "hummingbird", "Server"),
                product("HummingbirdTesting", "hummingbird", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOPosix", "Server"),
            ]
        ),
        // Builds and drives a package that depends on this one by path; run separately because it builds for minutes.
        .testTarget(name: "ExampleServiceTests", dependencies: ["CisternProcesses", "CisternTesting"]),
        .testTarget(
            name: "RateLimiterTests",
            dependencies: [
                "Cistern", "CisternProcesses", "CisternTestSupport",
                product("Configuration", "swift-configuration", "Server"),
                product("InMemoryTracing", "swift-distributed-tracing", "Server"),
                product("Metrics", "swift-metrics", "Server"),
                product("MetricsTestKit", "swift-metrics", "Server"),
                product("ServiceLifecycle", "swift-service-lifecycle", "Server"),
                product("Tracing", "swift-distributed-tracing", "Server"),
            ]
        ),
        .testTarget(name: "CisternSimulationTests", dependencies: ["Cistern", "CisternSimulation", "CisternSupport"]),
        .testTarget(
            name: "CisternRedisTests",
            dependencies: [
                "Cistern",
                "CisternCluster",
                "CisternRedis",
                "CisternSupport",
                "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
                product("Configuration", "swift-configuration", "Server"),
                product("InMemoryTracing", "swift-distributed-tracing", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOEmbedded", "Server"),
                nio("NIOPosix", "Server"),
                product("NIOSSL", "swift-nio-ssl", "Server"),
            ]
        ),
        .testTarget(
            name: "CisternHTTPTests",
            dependencies: [
                "Cistern",
                "CisternSupport",
                "CisternHTTP",
                "CisternProcesses",
                "CisternTestSupport", "CisternTesting",
                nio("NIOCore", "Server"),
                nio("NIOEmbedded", "Server"),
                nio("NIOHTTP1", "Server"),
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
                "CisternTestSupport", "CisternTesting",
                product("HTTPTypes", "swift-http-types", "Server"),
                logging("Server"),
                nio("NIOCore", "Server"),
                nio("NIOEmbedded", "Server"),
                product("Yams", "Yams", "Server"),
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
