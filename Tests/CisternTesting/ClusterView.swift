import Foundation

/// A Redis Cluster as one of its nodes sees it: the parsed reply to CLUSTER NODES.
struct ClusterView: Sendable {
    /// One line of the reply, which describes one node.
    struct Line: Sendable {
        let identifier: String
        let flags: Set<String>
        /// The identifier of the primary that it replicates; nil for a primary.
        let primary: String?
        let epoch: Int
        let isConnected: Bool
        /// The slots it owns, without the entries for slots in migration.
        let slots: [ClosedRange<Int>]

        init?(_ text: Substring) {
            let words = text.split(separator: " ").map(String.init)
            guard words.count >= 8, let epoch = Int(words[6]) else { return nil }
            identifier = words[0]
            flags = Set(words[2].split(separator: ",").map(String.init))
            primary = words[3] == "-" ? nil : words[3]
            self.epoch = epoch
            isConnected = words[7] == "connected"
            slots = words[8...].compactMap { word in
                // The entry for a slot in migration is in brackets and does not parse as a number.
                let ends = word.split(separator: "-").map { Int($0) }
                guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else { return nil }
                return first...last
            }
        }

        var isPrimary: Bool { flags.contains("master") }

        func owns(_ slot: Int) -> Bool { isPrimary && slots.contains { $0.contains(slot) } }

        /// Whether this line shows a healthy node, with the role and the slots that the node itself reports.
        func agrees(with own: Line) -> Bool {
            isConnected && flags.isDisjoint(with: ["fail", "fail?", "handshake", "noaddr"])
                && isPrimary == own.isPrimary && primary == own.primary && slots == own.slots
        }
    }

    let lines: [Line]

    init(_ text: String) {
        lines = text.split(whereSeparator: \.isNewline).compactMap { Line($0) }
    }

    /// The line in which the node describes itself.
    var own: Line? { lines.first { $0.flags.contains("myself") } }
}
