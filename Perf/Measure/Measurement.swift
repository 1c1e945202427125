internal import Cistern
internal import Foundation
internal import Histogram

/// The counts and readings taken during a load.
struct Measurement: Sendable {
    var tally: LoadTally
    var seconds: Double
    /// Processor time of the deciding processes; nil if the system does not report it.
    var processorMicroseconds: Double?
    /// Processor time of the Redis servers.
    var storeProcessorMicroseconds: Double?
    /// Calls of the commands that a decision may need, by Redis's own count.
    var storeCalls: Int?

    /// The processes to read from.
    struct Subject {
        /// Processes that make decisions.
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

    /// Warms up a load, counts for a while, and ends the load.
    ///
    /// Without a warm-up, everything up to the last answer counts, so the store calls are exactly those of the counted
    /// decisions. With a warm-up, a request in flight at the start or the end may count only as a store call, or only
    /// as a decision.
    ///
    /// - Parameter during: called every 100 ms while the load is counted.
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
            // Stop the load's threads before the caller gets the error.
            _ = try? await load.finish(countingAll: false)
            throw error
        }
        guard tally.decisions > 0 else {
            throw PerfError("no request was decided in \(seconds) s: use a longer --duration", .unavailable)
        }
        func difference(_ value: (Reading) -> Double?) -> Double? {
            value(before).flatMap { start in value(after).map { $0 - start } }
        }
        return Measurement(
            tally: tally, seconds: Double(after.at.nanoseconds - before.at.nanoseconds) / 1e9,
            processorMicroseconds: difference(\.processor), storeProcessorMicroseconds: difference(\.storeProcessor),
            storeCalls: difference { $0.storeCalls.map(Double.init) }.map { Int($0) })
    }

    /// Returns the figures as a sample of a result.
    ///
    /// - Parameters:
    ///   - limit: the limit of metered organizations; nil if there are none.
    ///   - correctedFor: the number of requests in flight in a closed loop; nil for an open loop.
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
            sample.values[.overAdmittedTokens] = Double(IdealBucket.overAdmission(tally.metered, limit: limit))
        }
        var latency = tally.waits
        latency.add(tally.immediate)
        if let inFlight, tally.decisions > inFlight {
            sample.uncorrectedPercentiles = latency.percentileList
            if tally.immediate.totalCount > 0 {
                // Fast-path decisions are sequential. Slow-path decisions delay no others and need no correction.
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

    /// Returns the latencies corrected for coordinated omission, as if each client had sent one request per interval.
    ///
    /// This is the correction of HdrHistogram and wrk: a request that took n intervals counts as n requests, each with
    /// a wait one interval shorter than the one before.
    func corrected(expectedIntervalNanoseconds interval: UInt64) -> LatencyRecord {
        var corrected = LatencyRecord.make()
        for entry in recordedValues() {
            corrected.recordCorrectedValue(entry.value, count: entry.count, expectedInterval: interval)
        }
        return corrected
    }
}
