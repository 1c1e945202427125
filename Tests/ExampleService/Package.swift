// swift-tools-version: 6.2

import PackageDescription

// A service of its own, as a user of the library would write it. `ExampleServiceTests` builds and drives it.
let package = Package(
    name: "example-service",
    platforms: [.macOS(.v26)],
    dependencies: [
        .package(name: "cistern", path: "../..", traits: ["Hummingbird", "Redis"]),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "ExampleService",
            dependencies: [
                .product(name: "Cistern", package: "cistern"),
                .product(name: "CisternHummingbird", package: "cistern"),
                .product(name: "CisternRedis", package: "cistern"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ]
        ),
        // The examples of the documents, which see only what is public here.
        .testTarget(
            name: "ExampleTests",
            dependencies: [
                .product(name: "Cistern", package: "cistern"),
                .product(name: "CisternHummingbird", package: "cistern"),
                .product(name: "CisternRedis", package: "cistern"),
                .product(name: "CisternTestSupport", package: "cistern"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ]
        ),
    ]
)
