// swift-tools-version: 6.2

import PackageDescription

// A package of its own, since the thread sanitizer brings an allocator that cannot run beside jemalloc. The modules are
// links to those of the main package: the engine and its tests, built in seconds. `make sanitize` runs it.
let package = Package(
    name: "cistern",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        .systemLibrary(name: "CProcessorHints"),
        .target(
            name: "Cistern",
            dependencies: ["CProcessorHints", .product(name: "DequeModule", package: "swift-collections")]
        ),
        .target(name: "CisternSupport", dependencies: ["Cistern"]),
        .target(name: "CisternCluster", dependencies: ["Cistern"]),
        .target(
            name: "CisternTesting",
            dependencies: ["Cistern", "CisternSupport", .product(name: "Logging", package: "swift-log")]
        ),
        .testTarget(
            name: "CisternTests", dependencies: ["Cistern", "CisternCluster", "CisternSupport", "CisternTesting"]),
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
