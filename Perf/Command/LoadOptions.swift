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
    @Option(help: ArgumentHelp("Refill of each organization, such as 10/s or 5/h.", valueName: "tokens/period"))
    var refill: String?
    @Option(help: ArgumentHelp("In place of --refill: tokens a second.", valueName: "tokens/s"))
    var refillPerSecond: String?
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
        guard capacity != nil || refill != nil || refillPerSecond != nil || standard != nil else { return nil }
        do {
            return try Limit(
                capacity: capacity, refill: refill, refillPerSecond: refillPerSecond, standard: standard ?? .standard)
        } catch {
            let (flag, value) =
                switch error.field {
                case .capacity: ("capacity", capacity)
                case .refill: ("refill", refill)
                case .refillPerSecond: ("refill-per-second", refillPerSecond)
                }
            throw PerfError("--\(flag) is '\(value ?? "")': \(error.remedy)", .usage)
        }
    }
}
