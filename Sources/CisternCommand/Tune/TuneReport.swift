internal import Cistern
internal import CisternReport
internal import CisternServer
internal import CisternSimulation
internal import Foundation

/// The results of a search, for the terminal, the HTML page and JSON.
struct TuneReport {
    let seed: UInt64
    let workload: TuneWorkload
    let scale: TuneScale
    let tradeOff: TradeOff
    /// Settings with a name in the table: `default`, and `now` for the server's current settings.
    let named: [(name: String, lease: LeaseSettings)]
    /// Names of the settings given as flags, which are written along with the searched ones.
    let kept: Set<String>
    /// The number of choices tried.
    let tried: Int

    /// The recommended row; if none is within the budget, the row closest to it.
    var recommended: TuneRow { tradeOff.recommended ?? tradeOff.cheapest ?? tradeOff.base }

    /// The rows to show: the Pareto front, and the rows with a name.
    var rows: [TuneRow] {
        let known = named.compactMap { name in tradeOff.rows.first { $0.lease == name.lease } }
        return tradeOff.shown(
            keeping: ([recommended] + known).reduce(into: []) { if !$0.contains($1) { $0.append($1) } })
    }

    /// The name of a row: `recommended`, `default`, `now`, a combination of these, or empty.
    func name(_ row: TuneRow) -> String {
        let names = named.filter { $0.lease == row.lease }.map(\.name)
        return ((row.lease == recommended.lease ? ["recommended"] : []) + names).joined(separator: ", ")
    }

    // MARK: Text

    var text: String {
        var figures = TextTable(["WORKLOAD", "VALUE", "FROM"], texts: ["WORKLOAD", "FROM"])
        for figure in workload.figures { figures.add([figure.name, figure.value, figure.source]) }
        if let budget = workload.budget { figures.add(["budget", FlagValue.shortest(budget), "flag"]) }
        let notes = workload.notes + [scale.sentence + ", seed \(seed); \(tried) choices"]
        return [figures.text, notes.joined(separator: "\n"), table, sentence].joined(separator: "\n\n")
    }

    static let headings = [
        "horizon", "duration", "prefetch", "minimum", "idle", "alone", "store calls/s", "lost %", "stranded",
        "wait p99 ms", "over %",
    ]

    static func cells(_ row: TuneRow) -> [String] {
        let lease = row.lease
        return [
            "\(lease.horizonMilliseconds)ms", "\(lease.durationMilliseconds)ms", "\(lease.prefetchMilliseconds)ms",
            "\(lease.minimumDemandTokens)", "\(lease.idleMilliseconds)ms", "\(lease.soloMultiplier)",
            decimal(row.storeCallsPerSecond, 1), decimal(row.underAdmissionPercent, 2), decimal(row.strandedTokens, 1),
            decimal(row.waitP99Milliseconds, 2), FlagValue.shortest(row.overAdmissionPercent),
        ]
    }

    private var table: String {
        var table = TextTable(["LEASES"] + Self.headings, texts: ["LEASES"])
        for row in rows { table.add([name(row)] + Self.cells(row)) }
        return table.text
    }

    /// Explains the recommendation in one or two sentences.
    var sentence: String {
        let row = recommended
        let calls = decimal(row.storeCallsPerSecond, 1)
        guard tradeOff.recommended != nil else {
            return "No choice stays within the budget; the fewest are \(calls) store calls/s."
        }
        let base = tradeOff.base
        let before = named.first { $0.lease == base.lease }?.name ?? "default"
        let why =
            if let budget = workload.budget {
                "it loses least of all choices within \(FlagValue.shortest(budget)) store calls/s"
            } else if tradeOff.isStoreIdle {
                "it loses least of all choices that leave the store 90 % idle"
            } else {
                """
                it is the knee: halving the store calls again would cost more than \
                \(decimal(TradeOff.halvingPrice, 1)) % of the requests, or as much in waiting
                """
            }
        if row == base {
            let condition = workload.budget == nil ? "" : " within the budget"
            return
                "Recommended: keep \(before). No choice\(condition) is better by more than random variation."
        }
        return """
            Recommended because \(why). Compared with \(before): \(calls) store calls/s instead of \
            \(decimal(base.storeCallsPerSecond, 1)), \(decimal(row.underAdmissionPercent, 2)) % lost instead of \
            \(decimal(base.underAdmissionPercent, 2)), p99 wait \(decimal(row.waitP99Milliseconds, 2)) ms instead of \
            \(decimal(base.waitP99Milliseconds, 2)).
            """
    }

    // MARK: Settings

    /// The recommended settings by name, in the order of the documentation.
    var settings: [(name: String, value: String)] {
        let lease = recommended.lease
        let searched: [(String, String)] = [
            ("leaseDuration", "\(lease.durationMilliseconds)ms"), ("leaseHorizon", "\(lease.horizonMilliseconds)ms"),
            ("leaseMinimum", "\(lease.minimumDemandTokens)"), ("leasePrefetch", "\(lease.prefetchMilliseconds)ms"),
            ("leaseIdle", "\(lease.idleMilliseconds)ms"), ("leaseAlone", "\(lease.soloMultiplier)"),
        ]
        let given: [(String, String)] = [
            ("leaseDemandRise", "\(lease.demandRiseMilliseconds)ms"),
            ("leaseDemandFall", "\(lease.demandFallMilliseconds)ms"), ("clockDrift", "\(lease.clockDriftPerMille)"),
            ("storeTimeout", "\(lease.timeoutMilliseconds)ms"),
        ]
        return searched + given.filter { kept.contains($0.0) }
    }

    /// The settings as a file for `cistern serve --config`.
    var yaml: String {
        let figures = workload.figures.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
        return (["# cistern tune: \(figures)"] + settings.map { "\($0.name): \($0.value)" }).joined(separator: "\n")
            + "\n"
    }

    // MARK: JSON

    /// The results as one JSON object, which the article Tuning describes.
    var json: String {
        get throws {
            try InspectionOptions.json(
                Document(
                    seed: seed, workload: workload.figures, notes: workload.notes,
                    simulated: Document.Simulated(
                        seconds: Double(scale.durationMilliseconds) / 1000,
                        organizations: scale.population.groups.count,
                        tokensForOne: scale.tokens, limitedOrganizations: scale.population.limited, choices: tried),
                    budget: workload.budget, isWithinBudget: tradeOff.recommended != nil,
                    rows: rows.map { Document.Row($0, isRecommended: $0 == recommended, names: name($0)) },
                    settings: Dictionary(uniqueKeysWithValues: settings.map { ($0.name, $0.value) }), reason: sentence))
        }
    }

    private struct Document: Encodable {
        struct Simulated: Encodable {
            let seconds: Double
            let organizations: Int
            let tokensForOne: Int
            let limitedOrganizations: Int
            let choices: Int
        }

        struct Row: Encodable {
            let isRecommended: Bool
            let isDefault: Bool
            let isNow: Bool
            let horizonMilliseconds: Int64
            let durationMilliseconds: Int64
            let prefetchMilliseconds: Int64
            let minimumDemandTokens: Int
            let idleMilliseconds: Int64
            let alone: Int
            let storeCallsPerSecond: Double
            let underAdmissionPercent: Double
            let strandedTokens: Double
            let waitP99Milliseconds: Double
            let peakOverAdmissionPercent: Double

            init(_ row: TuneRow, isRecommended: Bool, names: String) {
                let rounded = { (value: Double) in (value * 1000).rounded() / 1000 }
                self.isRecommended = isRecommended
                isDefault = names.contains("default")
                isNow = names.contains("now")
                horizonMilliseconds = row.lease.horizonMilliseconds
                durationMilliseconds = row.lease.durationMilliseconds
                prefetchMilliseconds = row.lease.prefetchMilliseconds
                minimumDemandTokens = row.lease.minimumDemandTokens
                idleMilliseconds = row.lease.idleMilliseconds
                alone = row.lease.soloMultiplier
                storeCallsPerSecond = rounded(row.storeCallsPerSecond)
                underAdmissionPercent = rounded(row.underAdmissionPercent)
                strandedTokens = rounded(row.strandedTokens)
                waitP99Milliseconds = rounded(row.waitP99Milliseconds)
                peakOverAdmissionPercent = row.overAdmissionPercent
            }
        }

        let version = 1
        let seed: UInt64
        let workload: [TuneWorkload.Figure]
        let notes: [String]
        let simulated: Simulated
        let budget: Double?
        let isWithinBudget: Bool
        let rows: [Row]
        let settings: [String: String]
        let reason: String
    }
}
