// swift-tools-version: 6.2

import PackageDescription

// A separate package, because libFuzzer provides `main` and instruments every module of the build. The modules are
// symbolic links to those of the main package. `make fuzz` builds and runs the package.
let package = Package(
    name: "cistern",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    ],
    targets: [
        .systemLibrary(name: "CLibFuzzer"),
        .systemLibrary(name: "CProcessorHints"),
        .systemLibrary(name: "CProcessorTicks"),
        .target(
            name: "Cistern",
            dependencies: [
                "CProcessorHints", "CProcessorTicks", .product(name: "DequeModule", package: "swift-collections"),
            ]
        ),
        .target(name: "CisternSupport", dependencies: ["Cistern"]),
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
        .executableTarget(
            name: "RequestFuzz",
            dependencies: [
                "CLibFuzzer",
                "Cistern",
                "CisternHTTP",
                "CisternSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ]
        ),
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
