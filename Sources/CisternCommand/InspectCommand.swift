internal import ArgumentParser
internal import Cistern
internal import CisternCluster
internal import CisternRedis
internal import CisternReport
internal import CisternServer
internal import Foundation

/// `cistern inspect`: shows one organization's bucket as Redis stores it.
struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show one organization's bucket in Redis: balance, leases, limit.",
        discussion: """
            Reads the bucket from its node and changes nothing. The connection settings are those of `cistern serve`. \
            The limit comes from the settings, or from an override in Redis. Exit codes: 0; 69 if the node cannot be \
            reached; 64 for an invalid argument or setting.
            """)

    @Argument(help: "The organization.") var organization: String
    @OptionGroup var link: RedisOptions
    @Option(help: .of("capacity")) var capacity: String?
    @Option(help: .of("refill")) var refill: String?
    @Option(help: .of("refillPerSecond")) var refillPerSecond: String?
    @Option(help: .of("limits")) var limits: String?
    @OptionGroup var output: InspectionOptions

    func run() async throws {
        var flags = link.values
        for case (let name, let value?) in [
            ("capacity", capacity), ("refill", refill), ("refillPerSecond", refillPerSecond), ("limits", limits),
        ] {
            flags[name] = value
        }
        let inspector = try output.inspector(flags: flags)
        do {
            let (limit, override, bucket) = try await inspector.bucket(of: organization)
            let report = BucketReport(organization, limit: limit, override: override, bucket)
            print(output.json ? try report.json : report.text)
        } catch let failure as BucketInspection.Failure {
            throw Exit.say(failure.description, code: .unavailable)
        }
    }
}

/// The output of `cistern inspect`; the article Key layout describes its JSON.
struct BucketReport: Encodable {
    let version = 1
    let organization: String
    let node: String
    let slot: Int?
    let capacity: Int
    let refill: String
    let refillPerSecond: Double
    /// The operator who overrode the limit; nil if it is not overridden.
    let overriddenBy: String?
    /// The balance as of now, in tokens; it may be negative, since trickle grants are debited in advance.
    let balance: Double
    let outstanding: Int
    /// Whether Redis stores the bucket; a missing bucket is full.
    let isStored: Bool
    let storedBalance: Double?
    let storedMillisecondsAgo: Int64?
    let expiresInMilliseconds: Int64?
    let lessees: [LesseeRecord]

    init(_ organization: String, limit: Limit, override: LimitOverrides.Entry?, _ bucket: BucketInspection) {
        let now = bucket.nowMilliseconds
        self.organization = organization
        node = bucket.node
        slot = bucket.slot
        capacity = limit.capacity
        refill = "\(limit.refill)"
        refillPerSecond = limit.refillPerSecond
        overriddenBy = override?.setBy
        balance = bucket.current.balance
        outstanding = bucket.current.outstanding
        isStored = bucket.stored != nil
        storedBalance = bucket.stored?.balance
        storedMillisecondsAgo = bucket.stored.map { $0.time(atClock: now) - $0.asOfMilliseconds }
        expiresInMilliseconds = bucket.timeToLiveMilliseconds
        lessees = bucket.lessees
    }

    var text: String {
        let slotText = slot.map { ", slot \($0)" } ?? ""
        var lines = [
            "organization  \(organization)", "node          \(node)\(slotText)",
            "limit         \(capacity) tokens, \(refill)"
                + (overriddenBy.map { ", overridden by \($0)" } ?? ""),
        ]
        if isStored {
            lines.append("balance       \(decimal(balance, 3)) of \(capacity)")
            lines.append("outstanding   \(outstanding), leased to \(lessees.count { $0.tokens > 0 })")
        } else {
            lines.append("balance       \(capacity): no bucket is stored in Redis; a missing bucket is full")
        }
        if let storedBalance, let storedMillisecondsAgo {
            lines.append("stored        \(decimal(storedBalance, 3)), \(seconds(storedMillisecondsAgo)) ago")
        }
        if let expiresInMilliseconds { lines.append("expires in    \(seconds(expiresInMilliseconds)) unless used") }
        guard !lessees.isEmpty else { return lines.joined(separator: "\n") }
        var table = TextTable(
            ["LESSEE", "TOKENS", "ENDS IN", "DEMAND/s", "TRICKLE/s", "LAST ASKED"], texts: ["LESSEE"])
        for lessee in lessees {
            table.add([
                lessee.name, "\(lessee.tokens)", seconds(lessee.endsInMilliseconds), decimal(lessee.demandPerSecond, 1),
                decimal(lessee.tricklePerSecond, 1), "\(seconds(lessee.askedMillisecondsAgo)) ago",
            ])
        }
        return (lines + ["", table.text]).joined(separator: "\n")
    }

    private func seconds(_ milliseconds: Int64) -> String {
        "\(decimal(Double(milliseconds) / 1000, 1)) s"
    }

    var json: String { get throws { try InspectionOptions.json(self) } }
}
