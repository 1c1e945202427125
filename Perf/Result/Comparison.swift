/// The changes from an earlier result to this one, and whether each is more than noise.
///
/// The noise of a metric is the spread of its repetitions, in either result. A change counts under two conditions.
/// First, the repetitions do not overlap: the worst of one result is better than the best of the other. Second, the
/// medians differ by more than the noise. With fewer than two repetitions on either side, the noise is unknown, and no
/// change counts.
struct Comparison {
    enum Verdict: String {
        case better
        case worse
        case changed
        case withinNoise = "within noise"
        case unknownNoise = "noise unknown"
    }

    struct Change {
        let row: String
        let metric: Metric
        let old: Double
        let new: Double
        /// The spread of the repetitions, in percent of the median; the larger one of the two results.
        let noisePercent: Double
        let verdict: Verdict

        /// The change in percent of the old value; nil if that is 0.
        var percent: Double? { old == 0 ? nil : (new - old) / old * 100 }
    }

    let changes: [Change]
    /// The names of rows that only one of the two results has.
    let unmatched: [String]

    /// Settings and machines that differ between the two results, each with the old and the new value.
    let differences: [String]

    /// Compares the rows with the same name in two results of the same kind.
    init(old: PerfResult, new: PerfResult) {
        var differences = Set(old.settings.keys).union(new.settings.keys).sorted().compactMap { name -> String? in
            let (before, now) = (old.settings[name] ?? "none", new.settings[name] ?? "none")
            return before == now ? nil : "\(name) was \(before), now \(now)"
        }
        let machines = [old.machine, new.machine].map { "\($0.cores) cores of \($0.processor), \($0.build) build" }
        if machines[0] != machines[1] { differences.append("machine was \(machines[0]), now \(machines[1])") }
        self.differences = differences
        let before = Dictionary(old.rows.map { ($0.name, $0) }) { first, _ in first }
        changes = new.rows.flatMap { row in
            guard let earlier = before[row.name] else { return [Change]() }
            return Metric.allCases.compactMap { Self.change(of: $0, from: earlier, to: row) }
        }
        let names = Set(new.rows.map(\.name))
        unmatched =
            old.rows.map(\.name).filter { !names.contains($0) } + new.rows.map(\.name).filter { before[$0] == nil }
    }

    private static func change(of metric: Metric, from old: PerfResult.Row, to new: PerfResult.Row) -> Change? {
        guard let before = old[metric], let after = new[metric] else { return nil }
        let (oldValues, newValues) = (values(metric, old), values(metric, new))
        let noise = max(spread(oldValues, around: before), spread(newValues, around: after))
        return Change(
            row: new.name, metric: metric, old: before, new: after, noisePercent: noise,
            verdict: verdict(metric, oldValues, newValues))
    }

    private static func values(_ metric: Metric, _ row: PerfResult.Row) -> [Double] {
        row.samples.compactMap { $0.values[metric] }.sorted()
    }

    private static func spread(_ values: [Double], around median: Double) -> Double {
        guard let least = values.first, let most = values.last, median != 0 else { return 0 }
        return (most - least) / median * 100
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }

    static func verdict(_ metric: Metric, _ old: [Double], _ new: [Double]) -> Verdict {
        guard old.count > 1, new.count > 1 else { return .unknownNoise }
        guard let oldLeast = old.min(), let oldMost = old.max(), let least = new.min(), let most = new.max() else {
            return .unknownNoise
        }
        let change = abs(median(new) - median(old))
        guard least > oldMost || most < oldLeast, change > max(most - least, oldMost - oldLeast) else {
            return .withinNoise
        }
        switch metric.direction {
        case .neither: return .changed
        case .higherIsBetter: return least > oldMost ? .better : .worse
        case .lowerIsBetter: return most < oldLeast ? .better : .worse
        }
    }
}
