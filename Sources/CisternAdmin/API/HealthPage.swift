/// The page that says whether the server is well: in JSON, `ok` while every node is up.
package enum HealthPage {
    /// The page's media type.
    package static let contentType = "application/json"

    /// The page's text.
    package static func text(_ snapshot: ServerSnapshot) -> String {
        let isDegraded = snapshot.nodes.contains { !$0.isUp }
        let nodes = snapshot.nodes.map { node in
            guard !node.isUp else { return #"{"name":\#(quoted(node.name)),"state":"up"}"# }
            let remedy = node.remedy.map { #","remedy":\#(quoted($0))"# } ?? ""
            return #"{"name":\#(quoted(node.name)),"state":"down","trouble":\#(quoted(node.trouble ?? "connecting"))"#
                + #","reason":\#(quoted(node.reason ?? "not connected yet"))\#(remedy)}"#
        }
        return #"{"status":"\#(isDegraded ? "degraded" : "ok")","store":\#(quoted(snapshot.store)),"#
            + #""uptimeSeconds":\#(snapshot.uptimeSeconds),"nodes":[\#(nodes.joined(separator: ","))]}"#
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
