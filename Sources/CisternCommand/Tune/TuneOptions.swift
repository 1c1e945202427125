internal import ArgumentParser
internal import Cistern
internal import CisternReport
internal import CisternServer
internal import CisternSimulation
internal import Foundation

/// The flags of `cistern tune`.
///
/// Values stay text until they are validated, so that each error can say how to correct them.
struct TuneOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Servers that share the limits, 1 to 256. (default: 8)", valueName: "count"))
    var servers: String?
    @Option(help: ArgumentHelp("Organizations with traffic, 1 to 1000000. (default: 1)", valueName: "count"))
    var organizations: String?
    @Option(
        help: ArgumentHelp(
            "Zipf exponent of the organizations' demand, 0 to 3; 0 for equal. (default: 0; 1 with --workload skewed)",
            valueName: "exponent"))
    var skew: String?
    @Option(help: ArgumentHelp("Burst of each organization, in tokens. (default: 1000)", valueName: "tokens"))
    var capacity: String?
    @Option(help: ArgumentHelp("Refill of each organization. (default: 1000/s)", valueName: "tokens/period"))
    var refill: String?
    @Option(help: ArgumentHelp("In place of --refill: tokens a second.", valueName: "tokens/s"))
    var refillPerSecond: String?
    @Option(
        help: ArgumentHelp(
            "Load in multiples of the buckets' refill rate, 0.001 to 1000; the default depends on the workload.",
            valueName: "factor"))
    var load: String?
    @Option(help: ArgumentHelp("Round trip to Redis, 0.01ms to 5s. (default: 1ms)", valueName: "time"))
    var roundTrip: String?
    @Option(
        help: ArgumentHelp(
            "Store calls a second that all servers together may make; without it, the best trade-off is searched.",
            valueName: "calls/s"))
    var budget: String?
    @Option(
        help: ArgumentHelp(
            "Workload: \(WorkloadKind.allCases.map(\.rawValue).joined(separator: ", ")). (default: even)",
            valueName: "name"))
    var workload: String?
    @Option(
        help: ArgumentHelp(
            "Address of a running server's admin port, for the figures that no flag sets.", valueName: "url"))
    var from: String?
    @Option(help: ArgumentHelp("File whose first line is the token for the --from server.", valueName: "file"))
    var tokenFile: String?
    @Option(help: ArgumentHelp("Seed of the simulated worlds, 0 to 2^64 − 1. (default: 1)", valueName: "number"))
    var seed: String?
    @Option(
        help: ArgumentHelp(
            "Simulated time per choice, 5s to 1h. (default: 10s; up to 1m if buckets take long to run dry)",
            valueName: "time"))
    var duration: String?
    @OptionGroup var lease: LeaseOptions
    @Option(help: ArgumentHelp("File to write the settings to, instead of standard output.", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("File to write an HTML page with plots to.", valueName: "file")) var report: String?
    @Flag(help: "Print one JSON object instead of the table.") var json = false

    static let standardServers = 8

    func chosenSeed() throws(FlagError) -> UInt64 {
        guard let seed else { return 1 }
        guard let number = UInt64(seed) else {
            throw FlagError("seed", seed, "use a whole number from 0 to 18446744073709551615")
        }
        return number
    }

    func chosenDuration() throws(FlagError) -> Int64? {
        guard let duration else { return nil }
        return try FlagValue.milliseconds("duration", duration, in: 5000...3_600_000, "5s to 1h")
    }

    /// A client for the server that `--from` names; nil if `--from` is not given.
    func client() throws(FlagError) -> AdminClient? {
        guard let from else {
            guard let tokenFile else { return nil }
            throw FlagError("token-file", tokenFile, "it needs --from, the server that the token is for")
        }
        let remedy = "use the address of a server's admin port, such as http://127.0.0.1:8081"
        guard let url = URLComponents(string: from), ["http", "https"].contains(url.scheme), url.host?.isEmpty == false,
            ["", "/"].contains(url.path), url.query == nil, url.fragment == nil, url.user == nil
        else { throw FlagError("from", from, remedy) }
        return AdminClient(address: from.hasSuffix("/") ? String(from.dropLast()) : from, token: try token())
    }

    private func token() throws(FlagError) -> String? {
        guard let tokenFile else { return nil }
        let text: String
        do {
            text = try String(contentsOfFile: tokenFile, encoding: .utf8)
        } catch {
            throw FlagError("token-file", tokenFile, "the file cannot be read: use an existing text file")
        }
        let line = text.split(whereSeparator: \.isNewline).first ?? ""
        guard !line.isEmpty, line.utf8.allSatisfy({ 0x21...0x7e ~= $0 }) else {
            throw FlagError("token-file", tokenFile, "put the token on the first line of the file, without spaces")
        }
        return String(line)
    }

    // MARK: The workload

    /// The workload: flags take precedence over the server's figures, and these over the defaults.
    func chosenWorkload(_ server: ServerFigures?) throws(FlagError) -> TuneWorkload {
        var sources = FigureSources(server: from)
        let kind: WorkloadKind = try FlagValue.choice("workload", workload ?? "even")
        let servers = sources.take("servers", servers, server?.lessees.map { "\($0)" }, "\(Self.standardServers)")
        let organizations = sources.take("organizations", organizations, server.map { "\($0.organizations)" }, "1")
        let standardSkew = kind == .skewed ? "1" : "0"
        let skew = sources.take(
            "skew", skew, server?.skew.map { FlagValue.shortest($0) }, standardSkew, how: "fitted to the busiest, ")
        let capacity = sources.take("capacity", capacity, server.map { "\($0.capacity)" }, "1000")
        let isPerSecond = refill == nil && refillPerSecond != nil
        let chosenRefill = sources.take(
            isPerSecond ? "refill-per-second" : "refill", refill ?? refillPerSecond, server?.refill, "1000/s")
        let trip = sources.take(
            "round-trip", roundTrip, server?.roundTripMilliseconds.map { "\(decimal($0, 2))ms" }, "1ms",
            how: "slowest node's median, ")
        var chosen = TuneWorkload(
            servers: try FlagValue.integer("servers", servers, in: 1...256),
            organizations: try FlagValue.integer("organizations", organizations, in: 1...1_000_000),
            skew: try FlagValue.number("skew", skew, in: 0...3),
            limit: try FlagValue.limit(
                capacity: capacity, refill: isPerSecond ? nil : chosenRefill, refillPerSecond: refillPerSecond),
            load: kind.standardLoad,
            roundTripMilliseconds: try Self.roundTrip(trip), kind: kind)
        chosen.nodes = max(1, server?.nodes ?? 1)
        if let server, server.demandPerSecond <= 0, load == nil {
            throw FlagError(
                "\(from ?? "") has no traffic at the moment to derive --load from: set --load, or retry while busy"
            )
        }
        // Rounded as shown, so that passing the shown value as a flag gives the same result.
        let seen = server.map { server in
            let refilled = chosen.limit.refillPerSecond * Double(chosen.organizations)
            return decimal(max(0.001, server.demandPerSecond * Double(chosen.servers) / refilled), 3)
        }
        let load = sources.take(
            "load", load, seen, FlagValue.shortest(kind.standardLoad), how: "its requests times the servers, ")
        chosen.load = try FlagValue.number("load", load, in: 0.001...1000)
        if let budget { chosen.budget = try FlagValue.number("budget", budget, in: 0.001...1e9) }
        _ = sources.take("workload", workload, nil, "even")
        chosen.figures = sources.figures
        if let server, server.limitsOfTheirOwn > 0 {
            chosen.notes.append(
                "\(server.limitsOfTheirOwn) organizations have limits of their own; the simulation ignores these limits"
            )
        }
        return chosen
    }

    /// A time in milliseconds, which may have a fraction because local round trips take less than 1 ms.
    private static func roundTrip(_ text: String) throws(FlagError) -> Double {
        let units = [("us", 0.001), ("ms", 1), ("s", 1000)]
        if let unit = units.first(where: { text.hasSuffix($0.0) }),
            let number = Double(text.dropLast(unit.0.count)), 0.01...5000 ~= number * unit.1
        {
            return number * unit.1
        }
        throw FlagError("round-trip", text, "use a time from 0.01ms to 5s, such as 0.5ms")
    }

    // MARK: Lease settings

    /// The lease settings that the search starts from: flags, else the server's, else the defaults.
    func startingSettings(_ server: ServerFigures?, roundTripMilliseconds: Double) throws(FlagError) -> LimiterSettings
    {
        var values = lease.values
        if let server {
            let own = [
                "leaseHorizon": server.lease.horizonMilliseconds, "leaseDuration": server.lease.durationMilliseconds,
                "leasePrefetch": server.lease.prefetchMilliseconds,
            ]
            values.merge(own.mapValues { "\($0)ms" }) { given, _ in given }
        }
        // If a horizon is given, the duration and prefetch time default to values that fit the horizon.
        if let given = lease.leaseHorizon.flatMap(Duration.wholeMilliseconds(in:)),
            LeaseSettings.Field.leaseHorizon.range ~= given
        {
            if lease.leaseDuration == nil { values["leaseDuration"] = "\(max(2000, given * 4))ms" }
            if lease.leasePrefetch == nil { values["leasePrefetch"] = "\(min(20, given / 2))ms" }
        }
        let settings: LimiterSettings
        do {
            settings = try ServerSettings(flags: values, environment: [:], configPath: nil).limiter
        } catch {
            throw FlagError("\(error)")
        }
        // `TuneScale` simulates a one-way latency of up to 4/5 of a round trip.
        guard roundTripMilliseconds * 1.6 <= Double(settings.lease.timeoutMilliseconds) else {
            throw FlagError(
                "round-trip", roundTrip ?? "\(decimal(roundTripMilliseconds, 2))ms",
                "use a longer --store-timeout, at least twice the round trip, or slow round trips time out")
        }
        return settings
    }
}

/// Records the source of each figure of a workload.
struct FigureSources {
    /// The server's address; nil without a server.
    let server: String?
    private(set) var figures: [TuneWorkload.Figure] = []

    init(server: String?) {
        self.server = server
    }

    /// Returns the flag's value, else the server's, else the default, and records its source.
    ///
    /// - Parameter how: how the server's figure was derived, if the server does not report the figure itself. The
    ///   recorded source is this text, followed by the server's address.
    mutating func take(
        _ name: String, _ flag: String?, _ figure: String?, _ standard: String, how: String = ""
    ) -> String {
        let value: String
        let source: String
        if let flag {
            (value, source) = (flag, "flag")
        } else if let figure, let server {
            (value, source) = (figure, how + server)
        } else {
            (value, source) = (standard, "default")
        }
        figures.append(TuneWorkload.Figure(name: name, value: value, source: source))
        return value
    }
}
