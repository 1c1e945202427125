// swift-tools-version: 6.2

import PackageDescription

// A separate package, because a program that links the packages of all traits has more debug information than valgrind
// can read. PerfTests count its instructions per decision, in a release build.
let package = Package(
    name: "decision-count",
    platforms: [.macOS(.v26)],
    dependencies: [.package(name: "cistern", path: "../..", traits: [])],
    targets: [
        .executableTarget(
            name: "DecisionCount", dependencies: [.product(name: "Cistern", package: "cistern")],
            swiftSettings: [.swiftLanguageMode(.v6)])
    ]
)
