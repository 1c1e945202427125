internal import Cistern

/// The health page, in JSON: `ok` while every node is up, else `degraded`; `draining` before the server stops.
package enum HealthPage {
    /// The page's media type.
    package static let contentType = "application/json"

    /// The page's text.
    package static func text(_ snapshot: ServerSnapshot) -> String {
        let isDegraded = snapshot.nodes.contains { !$0.isUp }
        let status = snapshot.isDraining ? "draining" : isDegraded ? "degraded" : "ok"
        let nodes = snapshot.nodes.map { node($0, showsReasons: snapshot.showsReasons) }
        let seconds = snapshot.lastUnmeteredMillisecondsAgo.map { "\($0 / 1000)" } ?? "null"
        return #"{"status":"\#(status)","store":\#(quoted(snapshot.store)),"uptimeSeconds":\#(snapshot.uptimeSeconds),"#
            + #""unmetered":{"decisions":\#(snapshot.limiter.decisions.unmetered),"lastSecondsAgo":\#(seconds)},"#
            + #""nodes":[\#(nodes.joined(separator: ","))]}"#
    }

    private static func node(_ node: ServerSnapshot.Node, showsReasons: Bool) -> String {
        let head = #"{"name":\#(quoted(node.name)),"state":"\#(node.isUp ? "up" : "down")""#
        guard !node.isUp, showsReasons else { return head + "}" }
        let remedy = node.remedy.map { #","remedy":\#(quoted($0))"# } ?? ""
        return head + #","failure":\#(quoted(node.nodeFailure ?? "connecting"))"#
            + #","reason":\#(quoted(node.reason ?? "not connected yet"))\#(remedy)}"#
    }

    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += #"\""#
            case "\\": quoted += #"\\"#
            case "\u{0}"..."\u{1f}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
