internal import ArgumentParser
internal import Cistern
internal import CisternServer

/// The lease flags, shared by `serve`, `simulate` and `tune`.
struct LeaseOptions: ParsableArguments {
    @Option(help: .of("leaseDuration")) var leaseDuration: String?
    @Option(help: .of("leaseHorizon")) var leaseHorizon: String?
    @Option(help: .of("leaseMinimum")) var leaseMinimum: String?
    @Option(help: .of("leasePrefetch")) var leasePrefetch: String?
    @Option(help: .of("leaseIdle")) var leaseIdle: String?
    @Option(help: .of("leaseAlone")) var leaseAlone: String?
    @Option(help: .of("leaseCallsPerSecond")) var leaseCallsPerSecond: String?
    @Option(help: .of("leaseDemandRise")) var leaseDemandRise: String?
    @Option(help: .of("leaseDemandFall")) var leaseDemandFall: String?
    @Option(help: .of("clockDrift")) var clockDrift: String?
    @Option(help: .of("storeTimeout")) var storeTimeout: String?

    private var flags: [(flag: String, setting: String, value: String?)] {
        [
            ("lease-duration", "leaseDuration", leaseDuration), ("lease-horizon", "leaseHorizon", leaseHorizon),
            ("lease-minimum", "leaseMinimum", leaseMinimum), ("lease-prefetch", "leasePrefetch", leasePrefetch),
            ("lease-idle", "leaseIdle", leaseIdle), ("lease-alone", "leaseAlone", leaseAlone),
            ("lease-calls-per-second", "leaseCallsPerSecond", leaseCallsPerSecond),
            ("lease-demand-rise", "leaseDemandRise", leaseDemandRise),
            ("lease-demand-fall", "leaseDemandFall", leaseDemandFall), ("clock-drift", "clockDrift", clockDrift),
            ("store-timeout", "storeTimeout", storeTimeout),
        ]
    }

    /// The given values, by setting name.
    var values: [String: String] {
        flags.reduce(into: [:]) { $0[$1.setting] = $1.value }
    }

    /// The given values, by flag.
    var arguments: [(flag: String, value: String?)] {
        flags.map { ($0.flag, $0.value) }
    }

    /// The limiter settings, parsed and validated like those of `cistern serve`.
    func limiter() throws(FlagError) -> LimiterSettings {
        do {
            return try ServerSettings(flags: values, environment: [:], configPath: nil).limiter
        } catch {
            throw FlagError("\(error)")
        }
    }
}
