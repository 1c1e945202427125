internal import Cistern
internal import CisternServer
internal import CisternSimulation
internal import Foundation

/// What a search came to, in words: the same for the terminal, the page and programs.
struct TuneReport {
    let seed: UInt64
    let workload: TuneWorkload
    let scale: TuneScale
    let tradeOff: TradeOff
    /// Settings to name in the table, and what they are called: what holds without tuning.
    let named: [(name: String, lease: LeaseSettings)]
    /// Settings that were given, which are written with those that were searched.
    let kept: Set<String>
    /// How many choices were tried.
    let tried: Int

    /// What is recommended; where nothing is within the budget, what comes nearest to it.
    var recommended: TuneRow { tradeOff.recommended ?? tradeOff.cheapest ?? tradeOff.base }

    /// The front, and the rows that are named.
    var rows: [TuneRow] {
        let known = named.compactMap { name in tradeOff.rows.first { $0.lease == name.lease } }
        return tradeOff.shown(
            keeping: ([recommended] + known).reduce(into: []) { if !$0.contains($1) { $0.append($1) } })
    }

    /// What a row is called: `recommended`, `default`, `now`, or nothing.
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
        "wait p99 ms", "excess",
    ]

    static func cells(_ row: TuneRow) -> [String] {
        let lease = row.lease
        return [
            "\(lease.horizonMilliseconds)ms", "\(lease.durationMilliseconds)ms", "\(lease.prefetchMilliseconds)ms",
            "\(lease.minimumTokens)", "\(lease.idleMilliseconds)ms", "\(lease.soloMultiplier)",
            decimal(row.storeCallsPerSecond, 1), decimal(row.lostPercent, 2), decimal(row.strandedTokens, 1),
            decimal(row.waitP99Milliseconds, 2), FlagValue.shortest(row.excessPercent),
        ]
    }

    private var table: String {
        var table = TextTable(["LEASES"] + Self.headings, texts: ["LEASES"])
        for row in rows { table.add([name(row)] + Self.cells(row)) }
        return table.text
    }

    /// Why the row that is marked is recommended.
    var sentence: String {
        let row = recommended
        let calls = decimal(row.storeCallsPerSecond, 1)
        guard tradeOff.recommended != nil else {
            return "Nothing that was tried stays within the budget; \(calls) store calls/s are the fewest."
        }
        let base = tradeOff.base
        let before = named.first { $0.lease == base.lease }?.name ?? "default"
        let why =
            if let budget = workload.budget {
                "of what stays within \(FlagValue.shortest(budget)) store calls/s it loses least"
            } else if tradeOff.isStoreIdle {
                "of what leaves the store nine tenths idle it loses least"
            } else {
                "it is the knee: from there half as many store calls would cost more than \(decimal(TradeOff.priceOfHalf, 1)) % of the requests, or as much in waiting"
            }
        if row == base {
            let condition = workload.budget == nil ? "" : " within the budget"
            return
                "Recommended is what holds already (\(before)): nothing that was tried is better\(condition) by more than chance makes."
        }
        return """
            Recommended, since \(why). Against \(before): \(calls) store calls/s instead of \
            \(decimal(base.storeCallsPerSecond, 1)), \(decimal(row.lostPercent, 2)) % lost instead of \
            \(decimal(base.lostPercent, 2)), p99 wait \(decimal(row.waitP99Milliseconds, 2)) ms instead of \
            \(decimal(base.waitP99Milliseconds, 2)).
            """
    }

    // MARK: Settings

    /// The recommended settings by their names, in the order of the documentation.
    var settings: [(name: String, value: String)] {
        let lease = recommended.lease
        let searched: [(String, String)] = [
            ("leaseDuration", "\(lease.durationMilliseconds)ms"), ("leaseHorizon", "\(lease.horizonMilliseconds)ms"),
            ("leaseMinimum", "\(lease.minimumTokens)"), ("leasePrefetch", "\(lease.prefetchMilliseconds)ms"),
            ("leaseIdle", "\(lease.idleMilliseconds)ms"), ("leaseAlone", "\(lease.soloMultiplier)"),
        ]
        let given: [(String, String)] = [
            ("leaseDemandRise", "\(lease.demandRiseMilliseconds)ms"),
            ("leaseDemandFall", "\(lease.demandFallMilliseconds)ms"), ("clockDrift", "\(lease.clockDriftPerMille)"),
            ("storeTimeout", "\(lease.timeoutMilliseconds)ms"),
        ]
        return searched + given.filter { kept.contains($0.0) }
    }

    /// The settings as a file that `cistern serve --config` takes.
    var yaml: String {
        let figures = workload.figures.map { "\($0.name) \($0.value)" }.joined(separator: ", ")
        return (["# cistern tune: \(figures)"] + settings.map { "\($0.name): \($0.value)" }).joined(separator: "\n")
            + "\n"
    }

    // MARK: JSON

    /// One object; its members are described in the README.
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
            let minimumTokens: Int
            let idleMilliseconds: Int64
            let alone: Int
            let storeCallsPerSecond: Double
            let lostPercent: Double
            let strandedTokens: Double
            let waitP99Milliseconds: Double
            let peakExcessPercent: Double

            init(_ row: TuneRow, isRecommended: Bool, names: String) {
                let rounded = { (value: Double) in (value * 1000).rounded() / 1000 }
                self.isRecommended = isRecommended
                isDefault = names.contains("default")
                isNow = names.contains("now")
                horizonMilliseconds = row.lease.horizonMilliseconds
                durationMilliseconds = row.lease.durationMilliseconds
                prefetchMilliseconds = row.lease.prefetchMilliseconds
                minimumTokens = row.lease.minimumTokens
                idleMilliseconds = row.lease.idleMilliseconds
                alone = row.lease.soloMultiplier
                storeCallsPerSecond = rounded(row.storeCallsPerSecond)
                lostPercent = rounded(row.lostPercent)
                strandedTokens = rounded(row.strandedTokens)
                waitP99Milliseconds = rounded(row.waitP99Milliseconds)
                peakExcessPercent = row.excessPercent
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
