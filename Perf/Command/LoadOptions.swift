internal import ArgumentParser
internal import Cistern

/// The flags for the organizations, their limit and the connections.
struct LoadOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Organizations, 1 to 1000000.", valueName: "count")) var organizations: String?
    @Option(
        help: ArgumentHelp(
            "Zipf exponent of requests per organization, 0 to 3; 0 for all alike. (default: 0)", valueName: "exponent"))
    var skew: String?
    @Option(help: ArgumentHelp("Burst of each organization, in tokens.", valueName: "tokens")) var capacity: String?
    @Option(help: ArgumentHelp("Refill rate of each organization.", valueName: "tokens/s")) var refillPerSecond: String?
    @Option(help: ArgumentHelp("HTTP connections, 1 to 100000. (default: 64)", valueName: "count"))
    var connections: String?

    func keyCount(standard: Int) throws(PerfError) -> Int {
        try RunOptions.integer("organizations", organizations ?? "\(standard)", in: 1...1_000_000)
    }

    func chosenSkew() throws(PerfError) -> Double { try RunOptions.number("skew", skew ?? "0", in: 0...3) }

    func connectionCount() throws(PerfError) -> Int {
        try RunOptions.integer("connections", connections ?? "64", in: 1...100_000)
    }

    /// The limit from the flags, completed from `standard`; nil without flags and without a standard.
    func limit(standard: Limit?) throws(PerfError) -> Limit? {
        guard capacity != nil || refillPerSecond != nil || standard != nil else { return nil }
        let base = standard ?? .standard
        let tokens = try RunOptions.integer(
            "capacity", capacity ?? "\(base.capacity)", in: 1...Limit.maximumCapacity)
        let rate = try RunOptions.number(
            "refill-per-second", refillPerSecond ?? "\(base.refillPerSecond)", in: 0.001...Limit.maximumRefillPerSecond)
        do {
            return try Limit(capacity: tokens, refillPerSecond: rate)
        } catch {
            throw PerfError("--refill-per-second is '\(refillPerSecond ?? "")': \(error.remedy)", .usage)
        }
    }
}
