/// What has changed from an earlier result to this one, and whether that is more than noise.
///
/// The noise of a figure is how far its repetitions lie apart, in either result. A change counts where the two do not
/// overlap, the worst repetition of one being better than the best of the other, and the medians differ by more than the
/// noise. With fewer than two repetitions on either side nothing is known of the noise, and no change counts.
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
        /// How far the repetitions lie apart, in percent of the median; of both results the larger.
        let noisePercent: Double
        let verdict: Verdict

        /// In percent of the old value; nil where that is 0.
        var percent: Double? { old == 0 ? nil : (new - old) / old * 100 }
    }

    let changes: [Change]
    /// Rows that only one of the two has.
    let unmatched: [String]

    /// What the two were not run with alike: name, then, now.
    let differences: [String]

    /// Compares rows of the same name, of two results of one kind.
    init(old: PerfResult, new: PerfResult) {
        var differences = Set(old.settings.keys).union(new.settings.keys).sorted().compactMap { name -> String? in
            let (before, now) = (old.settings[name] ?? "none", new.settings[name] ?? "none")
            return before == now ? nil : "\(name) \(before) then, \(now) now"
        }
        let machines = [old.machine, new.machine].map { "\($0.cores) cores of \($0.processor), \($0.build) build" }
        if machines[0] != machines[1] { differences.append("\(machines[0]) then, \(machines[1]) now") }
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
