internal import Cistern
internal import CisternCluster
internal import CisternSupport

/// Reads a bucket from its three Redis keys, as the lease script does.
extension StoreBucket {
    /// The first number of a state that this release wrote.
    static let stateVersion = 2.0
    /// The numbers of a state before those of its slots, and the numbers of a record.
    static let (stateNumbers, recordNumbers) = (11, 10)

    /// Creates the bucket from stored values; nil if there is no bucket.
    ///
    /// Other programs may have written to them. Impossible values are interpreted as in the script, or left out.
    ///
    /// - Parameter clock: the time on Redis's clock, in milliseconds.
    init?(
        tokens: [UInt8]?, lastRefill: [UInt8]?, leases: [(name: [UInt8], value: [UInt8])], limit: Limit, clock: Int64
    ) {
        let number = tokens.flatMap { Self.number($0) }
        let refilled = lastRefill.flatMap { Self.number($0) }.flatMap { Int64(exactly: $0.rounded(.down)) }
        guard let state = leases.first(where: { $0.name.isEmpty })?.value.packedNumbers,
            let bucket = StoreBucket(state: state)
        else {
            guard tokens != nil else { return nil }
            self.init(full: limit, nowMilliseconds: clock)
            balanceUnits = units(of: max(0, number ?? 0))
            if let refilled, 0...clock ~= refilled { asOfMilliseconds = refilled }
            return
        }
        self = bucket
        merge(tokens: number, lastRefill: refilled, state: state, clock: clock)
        for (name, value) in leases where !name.isEmpty {
            records[String(decoding: name, as: UTF8.self)] = Record(value)
        }
    }
}

extension StoreBucket {
    /// Reads the state from the leases hash; nil if no server can have written it.
    ///
    /// All numbers are bounded, so that no arithmetic on them overflows.
    private init?(state numbers: [Double]) {
        guard numbers.count >= Self.stateNumbers, numbers[0] == Self.stateVersion,
            let integers = Self.integers(numbers[..<9]), 1...Int64(UInt32.max) ~= integers[1],
            Self.times ~= integers[3], Self.times ~= integers[3] - integers[4],
            let slots = Int(exactly: numbers[10]), 0...numbers.count ~= slots,
            numbers.count >= Self.stateNumbers + 4 * slots, (numbers.count - Self.stateNumbers) % 2 == 0,
            let totals = Self.integers(numbers[Self.stateNumbers...])
        else { return nil }
        self.init(full: .standard, nowMilliseconds: integers[3])
        unitsPerToken = integers[1]
        balanceUnits = integers[2]
        clockOffsetMilliseconds = integers[4]
        overflowUnits = Self.moduloOverflow(integers[5])
        unitsVersion = integers[6]
        trickleBlockEndMilliseconds = integers[7]
        for index in stride(from: 0, to: 4 * slots, by: 4) {
            guard Self.times ~= totals[index], 0...Int64(Limit.maximumCapacity - outstanding) ~= totals[index + 1]
            else { return nil }
            expirySlots.append(
                ExpirySlot(
                    endsMilliseconds: totals[index], tokens: Int(totals[index + 1]), weight: totals[index + 2],
                    lessees: Int(totals[index + 3])))
        }
        for index in stride(from: 4 * slots, to: totals.count, by: 2) {
            let (ends, rate) = (totals[index], totals[index + 1])
            guard 0...Self.longestTrickleMilliseconds ~= ends - integers[3], 0...Self.highestRate ~= rate else {
                return nil
            }
            trickleSlots.append(TrickleSlot(endsMilliseconds: ends, rate: rate))
        }
    }

    /// Plausible times, up to the year 9999; a longest trickle grant, which no lease reaches; and a highest rate.
    private static let (times, longestTrickleMilliseconds, highestRate) = (
        LimitOverrides.times, Int64(1) << 20, Int64(1) << 40
    )

    /// Takes over what another program has written since: both balance and time, or a lower balance.
    private mutating func merge(tokens: Double?, lastRefill: Int64?, state: [Double], clock: Int64) {
        let writtenAt = asOfMilliseconds - clockOffsetMilliseconds
        let shown = state[9]
        if let tokens, tokens < shown || tokens != shown && lastRefill != nil && lastRefill != writtenAt {
            balanceUnits = units(of: tokens)
        }
        if let lastRefill, min(lastRefill, clock) > writtenAt {
            foreignRefillMilliseconds = min(lastRefill, clock) - writtenAt
        }
    }

    /// A decimal number of tokens in units.
    private func units(of tokens: Double) -> Int64 {
        let most = Double(Limit.maximumCapacity)
        return Int64((min(max(tokens, -most), most) * Double(unitsPerToken) + 0.5).rounded(.down))
    }

    fileprivate static func integers(_ numbers: ArraySlice<Double>) -> [Int64]? {
        let integers = numbers.compactMap { Int64(exactly: $0) }
        return integers.count == numbers.count && integers.allSatisfy { $0.magnitude < 1 << 53 } ? integers : nil
    }

    /// A decimal as Lua reads it; nil if it is not one.
    private static func number(_ bytes: [UInt8]) -> Double? {
        Double(String(decoding: bytes, as: UTF8.self)).flatMap { $0.isNaN ? nil : $0 }
    }
}

extension StoreBucket.Record {
    /// Reads a record from the leases hash; nil if no server can have written it.
    fileprivate init?(_ bytes: [UInt8]) {
        guard let doubles = bytes.packedNumbers, doubles.count == StoreBucket.recordNumbers,
            let numbers = StoreBucket.integers(doubles[...]), numbers.allSatisfy({ $0 >= 0 })
        else { return nil }
        self.init(
            sequence: UInt64(numbers[0]), tokens: Int(numbers[1]), endsMilliseconds: numbers[2], weight: numbers[3],
            trickleRate: numbers[4], trickleEndsMilliseconds: numbers[5], unacknowledged: Int(numbers[6]),
            lastRequestMilliseconds: numbers[7], overflowUnits: numbers[8], unitsVersion: numbers[9])
    }
}
