internal import ArgumentParser
internal import Cistern
internal import CisternCluster
internal import CisternRedis
internal import CisternReport
internal import CisternServer
internal import Foundation

/// `cistern overrides`: lists the limits that operators have overridden.
struct OverridesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "overrides",
        abstract: "List the limit overrides in force.",
        discussion: """
            Reads the overrides from the Redis nodes and changes nothing. The connection settings are those of \
            `cistern serve`. Exit codes: 0; 69 if no node can be reached; 64 for an invalid argument or setting.
            """)

    @OptionGroup var link: RedisOptions
    @OptionGroup var output: InspectionOptions

    /// One override in the JSON output.
    private struct Item: Encodable {
        let organization: String
        let capacity: Int
        let refill: String
        let refillPerSecond: Double
        let shadow: Bool
        let setBy: String
        let setAt: String
        let expiresAt: String?

        init?(_ organization: String, _ entry: LimitOverrides.Entry) {
            guard let limit = entry.limit else { return nil }
            self.organization = organization
            (capacity, refill, shadow) = (limit.capacity, "\(limit.refill)", limit.isShadow)
            refillPerSecond = limit.refillPerSecond
            setBy = entry.setBy
            setAt = Self.date(entry.setAtMilliseconds)
            expiresAt = entry.expiresAtMilliseconds.map(Self.date)
        }

        private static func date(_ unixMilliseconds: Int64) -> String {
            Date(timeIntervalSince1970: Double(unixMilliseconds / 1000)).formatted(.iso8601)
        }
    }

    private struct Report: Encodable {
        let version = 1
        let overrides: [Item]
    }

    func run() async throws {
        let inspector = try output.inspector(flags: link.values)
        do {
            let items = try await inspector.overrides().sorted { $0.key < $1.key }.compactMap { Item($0.key, $0.value) }
            print(output.json ? try InspectionOptions.json(Report(overrides: items)) : Self.table(items))
        } catch let failure as BucketInspection.Failure {
            throw Exit.say(failure.description, code: .unavailable)
        }
    }

    private static func table(_ items: [Item]) -> String {
        guard !items.isEmpty else { return "no limit is overridden" }
        var table = TextTable(
            ["ORGANIZATION", "CAPACITY", "REFILL", "SHADOW", "SET BY", "SET AT", "EXPIRES AT"],
            texts: ["ORGANIZATION", "REFILL", "SHADOW", "SET BY", "SET AT", "EXPIRES AT"])
        for item in items {
            table.add([
                item.organization, "\(item.capacity)", item.refill, item.shadow ? "yes" : "no",
                item.setBy, item.setAt, item.expiresAt ?? "never",
            ])
        }
        return table.text
    }
}
