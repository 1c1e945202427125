// swift-tools-version: 6.2

import PackageDescription

// A separate package, because the thread sanitizer's allocator cannot run beside jemalloc. The modules are symbolic
// links to the engine and its tests in the main package, and build in seconds. `make sanitize` runs the tests.
let package = Package(
    name: "cistern",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        .systemLibrary(name: "CProcessorHints"),
        .systemLibrary(name: "CProcessorTicks"),
        .target(
            name: "Cistern",
            dependencies: [
                "CProcessorHints", "CProcessorTicks", .product(name: "DequeModule", package: "swift-collections"),
            ]
        ),
        .target(name: "CisternSupport", dependencies: ["Cistern"]),
        .target(name: "CisternCluster", dependencies: ["Cistern"]),
        .target(name: "CisternProcesses"),
        .target(name: "CisternTestSupport", dependencies: ["Cistern"]),
        .target(
            name: "CisternTesting",
            dependencies: [
                "Cistern", "CisternProcesses", "CisternSupport", "CisternTestSupport",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        .testTarget(
            name: "CisternTests",
            dependencies: [
                "Cistern", "CisternCluster", "CisternProcesses", "CisternSupport", "CisternTestSupport",
                "CisternTesting",
            ]),
    ]
)

for target in package.targets where target.type != .system {
    target.swiftSettings = [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    ]
}
