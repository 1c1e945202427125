internal import Cistern
internal import Foundation
internal import Histogram

/// What was counted and read off while a load went on.
struct Measurement: Sendable {
    var tally: LoadTally
    var seconds: Double
    /// Of whoever decides; nil where the system does not tell.
    var processorMicroseconds: Double?
    /// Of the Redis servers.
    var storeProcessorMicroseconds: Double?
    /// Calls of the commands that a decision may make, by Redis's own count.
    var storeCalls: Int?

    /// What is looked at from outside.
    struct Subject {
        /// Processes that decide.
        var deciders: [Int32]
        var stores: StoreProbe?
        /// The commands that count as store calls.
        var commands: [String] = []
    }

    private struct Reading {
        let at: Instant
        let processor: Double?
        let storeProcessor: Double?
        let storeCalls: Int?

        init(_ subject: Subject, clock: any TimeSource) throws {
            at = clock.now()
            processor = subject.deciders.isEmpty ? nil : ProcessorTime.microseconds(of: subject.deciders)
            storeProcessor = subject.stores.flatMap { ProcessorTime.microseconds(of: $0.processIdentifiers) }
            storeCalls = try subject.stores?.calls(of: subject.commands)
        }
    }

    /// Lets a load warm up, counts for a while, and ends it.
    ///
    /// Without a warm-up everything counts, to the last answer: then the store's calls are exactly those of the decisions
    /// that are counted. With one, those that are under way at either end count on one side only.
    ///
    /// - Parameter during: run once a tenth of a second while it counts.
    static func take(
        of load: some Load, subject: Subject, warmUpSeconds: Double, seconds: Double, clock: any TimeSource,
        during: () async throws -> Void = {}
    ) async throws -> Measurement {
        let isWhole = warmUpSeconds == 0
        let (before, after, tally): (Reading, Reading, LoadTally)
        do {
            if !isWhole {
                load.start()
                try await Task.sleep(for: .seconds(warmUpSeconds))
            }
            try await during()
            before = try Reading(subject, clock: clock)
            load.phase.turn(to: .counting)
            if isWhole { load.start() }
            let end = ContinuousClock.now + .seconds(seconds)
            while ContinuousClock.now < end, !load.phase.hasFailed {
                try await Task.sleep(until: min(end, ContinuousClock.now + .milliseconds(100)))
                try await during()
            }
            let atEnd = try Reading(subject, clock: clock)
            tally = try await load.finish(countingAll: isWhole || load.isOpenLoop)
            after = isWhole ? try Reading(subject, clock: clock) : atEnd
        } catch {
            // Its threads must not go on behind the back of whoever is told.
            _ = try? await load.finish(countingAll: false)
            throw error
        }
        guard tally.decisions > 0 else {
            throw PerfError("nothing was decided in \(seconds) s: use a longer --duration", .unavailable)
        }
        func difference(_ value: (Reading) -> Double?) -> Double? {
            value(before).flatMap { start in value(after).map { $0 - start } }
        }
        return Measurement(
            tally: tally, seconds: Double(after.at.nanoseconds - before.at.nanoseconds) / 1e9,
            processorMicroseconds: difference(\.processor), storeProcessorMicroseconds: difference(\.storeProcessor),
            storeCalls: difference { $0.storeCalls.map(Double.init) }.map { Int($0) })
    }

    /// The figures, for a result.
    ///
    /// - Parameters:
    ///   - limit: the limit of metered organizations; nil where there are none.
    ///   - correctedFor: how many requests at once a closed loop had under way; nil where each was sent when it was meant
    ///     to be.
    func sample(limit: Limit?, correctedFor inFlight: Int? = nil) -> PerfResult.Sample {
        var sample = PerfResult.Sample(seconds: seconds, decisions: tally.decisions)
        let decisions = Double(max(1, tally.decisions))
        sample.values[.decisionsPerSecond] = Double(tally.decisions) / seconds
        sample.values[.deniedPercent] = Double(tally.denied) / decisions * 100
        sample.values[.failed] = Double(tally.failed + tally.refused)
        sample.values[.unmetered] = Double(tally.unmetered)
        if let processorMicroseconds { sample.values[.processorMicroseconds] = processorMicroseconds / decisions }
        if let storeProcessorMicroseconds {
            sample.values[.storeProcessorMicroseconds] = storeProcessorMicroseconds / decisions
        }
        if let storeCalls {
            sample.values[.storeCallsPerThousand] = Double(storeCalls) / decisions * 1000
            sample.values[.storeCallsPerSecond] = Double(storeCalls) / seconds
        }
        if let limit {
            sample.values[.excessTokens] = Double(IdealBucket.excess(tally.metered, limit: limit))
        }
        var latency = tally.waits
        latency.add(tally.immediate)
        if let inFlight, tally.decisions > inFlight {
            sample.uncorrectedPercentiles = latency.percentileList
            if tally.immediate.totalCount > 0 {
                // What memory decides comes one by one. What waits for the store holds nothing up: it stands for itself.
                let interval = UInt64(max(1, tally.immediate.mean))
                latency = tally.immediate.corrected(expectedIntervalNanoseconds: interval)
                latency.add(tally.waits)
            } else {
                let interval = seconds * 1e9 * Double(inFlight) / decisions
                latency = tally.waits.corrected(expectedIntervalNanoseconds: UInt64(max(1, interval)))
            }
        }
        sample.percentiles = latency.percentileList
        guard latency.totalCount > 0 else { return sample }
        sample.values[.p50Microseconds] = latency.microseconds(50)
        sample.values[.p99Microseconds] = latency.microseconds(99)
        sample.values[.p999Microseconds] = latency.microseconds(99.9)
        sample.values[.maxMicroseconds] = latency.microseconds(100)
        return sample
    }
}

extension LatencyRecord {
    static let listed = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100]

    func microseconds(_ percent: Double) -> Double { Double(valueAtPercentile(percent)) / 1000 }

    var percentileList: [PerfResult.Percentile] {
        totalCount == 0
            ? [] : Self.listed.map { PerfResult.Percentile(percent: $0, microseconds: microseconds($0)) }
    }

    /// The same with those added that a closed loop did not send while it waited for a slow one: as if each client had
    /// sent one request each so many nanoseconds.
    ///
    /// The correction of HdrHistogram, and wrk's: a request that took n intervals stands for n requests, each of which
    /// waited one interval less.
    func corrected(expectedIntervalNanoseconds interval: UInt64) -> LatencyRecord {
        var corrected = LatencyRecord.make()
        for entry in recordedValues() {
            corrected.recordCorrectedValue(entry.value, count: entry.count, expectedInterval: interval)
        }
        return corrected
    }
}
