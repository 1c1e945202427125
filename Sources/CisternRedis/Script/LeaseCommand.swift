internal import Cistern

/// The command that runs the lease script for a request, and the reply.
extension LeaseScript {
    /// How a command refers to the script.
    enum Call {
        /// By the digest that `SCRIPT LOAD` returned (`EVALSHA`).
        case digest([UInt8])
        /// By its text, which the node then caches (`EVAL`).
        case source
    }

    private static let (evalshaWord, evalWord) = (Array("EVALSHA".utf8), Array("EVAL".utf8))
    private static let sourceBytes = Array(source.utf8)

    /// Appends the command for a request.
    ///
    /// - Parameters:
    ///   - names: how the bucket's Redis keys are named.
    ///   - keyCount: how many of them are passed: 3 for all, 1 for only the first.
    static func write(
        _ request: LeaseRequest, as call: Call, names: KeyNames, keyCount: Int, to commands: inout RESPCommandBuffer
    ) {
        let (name, script): ([UInt8], [UInt8]) =
            switch call {
            case .digest(let digest): (evalshaWord, digest)
            case .source: (evalWord, sourceBytes)
            }
        let numbers = numberCount(of: request)
        let texts = name.count + script.count + request.lesseeID.utf8.count
        let payload =
            texts + 3 * request.key.count + names.nameOverheadBytes + RESPCommandBuffer.numberBytes
            + numbers * RESPCommandBuffer.doubleBytes
        commands.append(words: 5 + keyCount, payload: payload) { output in
            output.appendArgument(name)
            output.appendArgument(script)
            output.appendArgument(Int64(keyCount))
            names.append(count: keyCount, of: request.key, to: &output)
            output.appendArgument(request.lesseeID)
            output.appendArgument(doubles: numbers) { output in appendNumbers(of: request, to: &output) }
        }
    }

    /// A command that runs the script as a trial: it changes nothing, but fails wherever a lease request would fail.
    static func trial(digest: [UInt8], key: [UInt8]) -> [[UInt8]] {
        let numbers = [UInt8](repeating: 0, count: fixedNumberCount * RESPCommandBuffer.doubleBytes)
        return [evalshaWord, digest, Array("1".utf8), key, Array("trial".utf8), numbers]
    }

    /// The command that fills a bucket, except for tokens that are still leased; a missing bucket counts as full.
    static func fill(_ key: [UInt8], limit: Limit, names: KeyNames) -> [[UInt8]] {
        var numbers: [Int64] = Array(repeating: 0, count: fixedNumberCount)
        (numbers[0], numbers[1], numbers[2]) =
            (limit.unitsPerToken, Int64(limit.capacity), limit.refillUnitsPerMillisecond)
        numbers[fixedNumberCount - 1] = 1
        var bytes: [UInt8] = []
        bytes.append(addingCapacity: numbers.count * RESPCommandBuffer.doubleBytes) { output in
            for number in numbers { output.appendDouble(number) }
        }
        return [evalWord, sourceBytes, Array("3".utf8)] + names.bucket(of: key) + [[], bytes]
    }

    /// Numbers in a request, not counting those of the waiting requests.
    private static let fixedNumberCount = 16

    private static func numberCount(of request: LeaseRequest) -> Int { fixedNumberCount + 2 * request.waiting.count }

    /// Appends the numbers in the order in which the script unpacks them.
    @inline(__always)
    private static func appendNumbers(of request: LeaseRequest, to output: inout OutputSpan<UInt8>) {
        output.appendDouble(request.limit.unitsPerToken)
        output.appendDouble(Int64(request.limit.capacity))
        output.appendDouble(request.limit.refillUnitsPerMillisecond)
        output.appendDouble(Int64(request.sequence))
        output.appendDouble(Int64(request.acknowledged))
        output.appendDouble(request.durationMilliseconds)
        output.appendDouble(Int64(request.held))
        output.appendDouble(request.millisecondsSinceLastSpend)
        output.appendDouble(Int64(request.returned))
        output.appendDouble(Int64(request.halfSpentTokens))
        output.appendDouble(request.halfSpentMilliseconds)
        output.appendDouble(Int64(request.requested.prefetchTokens))
        output.appendDouble(request.requested.weight)
        output.appendDouble(request.requested.trickleMilliseconds)
        output.appendDouble(Int64(request.requested.soloMultiplier))
        output.appendDouble(0)  // a lease request, and not one that fills the bucket
        for costs in request.waiting {
            output.appendDouble(Int64(costs.cost))
            output.appendDouble(Int64(costs.count))
        }
    }

    /// The script with a request's numbers embedded, for clients limited to text; `ARGV[1]` is the lessee ID.
    static func source(embedding request: LeaseRequest) -> String {
        var bytes: [UInt8] = []
        bytes.append(addingCapacity: numberCount(of: request) * RESPCommandBuffer.doubleBytes) { output in
            appendNumbers(of: request, to: &output)
        }
        let escapes = bytes.map { "\\" + String(1000 + Int($0)).dropFirst() }.joined()
        return "local ARGV = { ARGV[1], '\(escapes)' }\n" + source
    }

    /// What the script has found damaged in a bucket's three Redis keys, and replaced.
    struct Damage: OptionSet {
        let rawValue: Int64
        static let tokens = Damage(rawValue: 1)
        static let lastRefill = Damage(rawValue: 2)
        static let leases = Damage(rawValue: 4)
        static let all: Damage = [.tokens, .lastRefill, .leases]

        /// The last parts of the names of the damaged Redis keys.
        var names: [String] {
            KeyNames.fields.indices.filter { contains(Damage(rawValue: 1 << $0)) }.map { KeyNames.fields[$0] }
        }
    }

    /// The script's reply.
    struct Answer {
        let grant: Grant
        let damage: Damage
        /// How far the store's clock has stepped back, in milliseconds, since the last request of any lessee.
        let stepBackMilliseconds: Int64
    }

    /// Parses the reply to a request; nil if the script cannot have sent it.
    ///
    /// Every number is checked against its range or clamped to it, so that arithmetic on a grant cannot overflow.
    static func answer(in reply: RESPReply, to request: LeaseRequest) -> Answer? {
        guard case .numbers(let numbers) = reply else { return nil }
        let tokens = 0...Int64(request.limit.capacity)
        let exact = 0...largestExactInteger
        guard tokens ~= numbers[0], 0...Int64(request.held) ~= numbers[1],
            tokens ~= numbers[3],
            0...maximumTrickleMilliseconds ~= numbers[4], exact ~= numbers[5], exact ~= numbers[6],
            exact ~= numbers[7], 0...Damage.all.rawValue ~= numbers[8], exact ~= numbers[9]
        else { return nil }
        // Garbage in the records can make the open balance and the outstanding tokens arbitrarily large. They only
        // indicate what is left in the bucket, so clamp them.
        let most = Int64(Limit.maximumCapacity)
        let grant = Grant(
            tokens: Int(numbers[0]), held: Int(numbers[1]),
            openUnits: min(max(numbers[2], -Limit.maximumUnits), Limit.maximumUnits), trickleTokens: Int(numbers[3]),
            trickleMilliseconds: numbers[4], openRefillUnitsPerMillisecond: numbers[5],
            outstanding: Int(min(numbers[6], most)), lessees: Int(min(numbers[7], most)))
        return Answer(grant: grant, damage: Damage(rawValue: numbers[8]), stepBackMilliseconds: numbers[9])
    }

    /// The script computes in doubles, which represent integers exactly up to this one.
    private static let largestExactInteger: Int64 = 1 << 53
    /// One day, which is longer than any trickle grant.
    private static let maximumTrickleMilliseconds: Int64 = 86_400_000
}
