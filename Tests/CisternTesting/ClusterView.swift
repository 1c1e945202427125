import Foundation

/// A Redis Cluster as one of its nodes sees it: what CLUSTER NODES says.
struct ClusterView: Sendable {
    /// What the node says of one node.
    struct Line: Sendable {
        let identifier: String
        let flags: Set<String>
        /// Whom it copies; nil for a primary.
        let primary: String?
        let epoch: Int
        let isConnected: Bool
        /// The slots it owns, without those that are on their way.
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
                // A slot on its way stands in brackets, and is no number.
                let ends = word.split(separator: "-").map { Int($0) }
                guard let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else { return nil }
                return first...last
            }
        }

        var isPrimary: Bool { flags.contains("master") }

        func owns(_ slot: Int) -> Bool { isPrimary && slots.contains { $0.contains(slot) } }

        /// Whether this says that the node is well, and has the role and the slots that it says it has itself.
        func agrees(with own: Line) -> Bool {
            isConnected && flags.isDisjoint(with: ["fail", "fail?", "handshake", "noaddr"])
                && isPrimary == own.isPrimary && primary == own.primary && slots == own.slots
        }
    }

    let lines: [Line]

    init(_ text: String) {
        lines = text.split(whereSeparator: \.isNewline).compactMap { Line($0) }
    }

    /// What the node says of itself.
    var own: Line? { lines.first { $0.flags.contains("myself") } }
}
