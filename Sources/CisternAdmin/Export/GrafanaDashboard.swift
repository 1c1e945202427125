internal import Foundation

/// A Grafana dashboard for all servers of a fleet.
package enum GrafanaDashboard {
    struct Panel {
        let title: String
        /// Grafana's name of the unit.
        let unit: String
        /// PromQL expressions, each with its legend.
        let targets: [(expression: String, legend: String)]
    }

    private static let instance = #"instance=~"$instance""#

    private static func rate(_ family: MetricFamily, _ suffix: String = "", _ labels: String = "", by: String) -> String
    {
        let labels = [instance, labels].filter { !$0.isEmpty }.joined(separator: ",")
        return "sum by (\(by)) (rate(\(family.name)\(suffix){\(labels)}[$__rate_interval]))"
    }

    private static func total(_ family: MetricFamily, _ suffix: String = "") -> String {
        "sum(rate(\(family.name)\(suffix){\(instance)}[$__rate_interval]))"
    }

    private static func quantiles(_ family: MetricFamily, by: String, legend: String) -> [(String, String)] {
        [0.5, 0.99, 0.999].map { part in
            let sum = rate(family, "_bucket", by: by.isEmpty ? "le" : "\(by), le")
            return ("histogram_quantile(\(part), \(sum))", "p\(String(format: "%g", part * 100))\(legend)")
        }
    }

    static let panels: [Panel] = [
        Panel(
            title: "Decisions by outcome", unit: "reqps",
            targets: [(rate(.decisions, by: "outcome"), "{{outcome}}"), (total(.shadowDenials), "shadow denials")]),
        Panel(
            title: "Decided from memory", unit: "percentunit",
            targets: [("1 - \(total(.storeWait, "_count")) / \(total(.decisions))", "from memory")]),
        Panel(
            title: "Store calls", unit: "reqps", targets: [(rate(.leaseRequests, by: "result"), "{{result}}")]),
        Panel(
            title: "Store calls per 1,000 decisions", unit: "short",
            targets: [("1000 * \(total(.leaseRequests)) / \(total(.decisions))", "calls")]),
        Panel(
            title: "Store wait time", unit: "s", targets: quantiles(.storeWait, by: "", legend: "")),
        Panel(
            title: "Response time, /chat", unit: "s",
            targets: [0.5, 0.99].map { part in
                let sum = rate(.requestDuration, "_bucket", #"route="/chat""#, by: "le")
                return ("histogram_quantile(\(part), \(sum))", "p\(Int(part * 100))")
            }),
        Panel(
            title: "Leased tokens", unit: "short",
            targets: [
                ("sum(\(MetricFamily.outstandingTokens.name){\(instance)})", "outstanding"),
                (rate(.leaseTokens, by: "event"), "{{event}} per second"),
            ]),
        Panel(
            title: "Redis nodes in use", unit: "short",
            targets: [("min by (node) (\(MetricFamily.nodeUp.name){\(instance)})", "{{node}}")]),
        Panel(
            title: "Node response time", unit: "s",
            targets: [
                (
                    "histogram_quantile(0.99, \(rate(.nodeLatency, "_bucket", by: "node, le")))", "p99 {{node}}"
                )
            ]),
        Panel(
            title: "HTTP responses", unit: "reqps",
            targets: [(rate(.requests, by: "route, status"), "{{route}} {{status}}")]),
        Panel(
            title: "Organizations in memory", unit: "short",
            targets: [
                ("sum(\(MetricFamily.cachedBuckets.name){\(instance)})", "in memory"),
                (total(.evictions), "evictions per second"),
            ]),
        Panel(
            title: "Event-loop lag", unit: "s", targets: quantiles(.eventLoopLag, by: "", legend: "")),
        Panel(
            title: "Limits", unit: "short",
            targets: [
                ("max(\(MetricFamily.limitOverrides.name){\(instance)})", "overrides"),
                ("max(\(MetricFamily.limitsRejected.name){\(instance)})", "file rejected"),
                (rate(.limitsReads, by: "result"), "reads per second, {{result}}"),
            ]),
        Panel(
            title: "Lease settings", unit: "s",
            targets: [("max by (setting) (\(MetricFamily.leaseSetting.name){\(instance)})", "{{setting}}")]),
        Panel(
            title: "Open connections", unit: "short",
            targets: [("sum by (instance) (\(MetricFamily.connections.name){\(instance)})", "{{instance}}")]),
    ]

    // MARK: Grafana's JSON model

    private struct Source: Encodable {
        let type = "prometheus"
        let uid = "${datasource}"
    }

    private struct Target: Encodable {
        let datasource = Source()
        let expr: String
        let legendFormat: String
        let refId: String
    }

    private struct Place: Encodable {
        let x: Int
        let y: Int
        let w = 12
        let h = 8
    }

    private struct Defaults: Encodable {
        let unit: String
        let min = 0
    }

    private struct FieldConfig: Encodable {
        let defaults: Defaults
        let overrides: [String] = []
    }

    private struct Chart: Encodable {
        let id: Int
        let type = "timeseries"
        let title: String
        let datasource = Source()
        let gridPos: Place
        let fieldConfig: FieldConfig
        let targets: [Target]
    }

    private struct Variable: Encodable {
        let name: String
        let type: String
        let query: String
        var datasource: Source?
        var refresh: Int?
        var includeAll: Bool?
        var multi: Bool?
        var allValue: String?
    }

    private struct Templating: Encodable {
        let list: [Variable]
    }

    private struct Range: Encodable {
        let from = "now-1h"
        let to = "now"
    }

    private struct Dashboard: Encodable {
        let title = "Cistern"
        let uid = "cistern"
        let tags = ["cistern"]
        let schemaVersion = 39
        let refresh = "10s"
        let time = Range()
        let templating: Templating
        let panels: [Chart]
    }

    /// The dashboard as JSON, for import into Grafana.
    package static var json: String {
        get throws {
            let variables = [
                Variable(name: "datasource", type: "datasource", query: "prometheus"),
                Variable(
                    name: "instance", type: "query", query: "label_values(\(MetricFamily.decisions.name), instance)",
                    datasource: Source(), refresh: 2, includeAll: true, multi: true, allValue: ".*"),
            ]
            let charts = panels.enumerated().map { index, panel in
                Chart(
                    id: index + 1, title: panel.title, gridPos: Place(x: index % 2 * 12, y: index / 2 * 8),
                    fieldConfig: FieldConfig(defaults: Defaults(unit: panel.unit)),
                    targets: panel.targets.enumerated().map { number, target in
                        Target(
                            expr: target.expression, legendFormat: target.legend,
                            refId: String(UnicodeScalar(UInt8(ascii: "A") + UInt8(number))))
                    })
            }
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            let dashboard = Dashboard(templating: Templating(list: variables), panels: charts)
            return String(decoding: try encoder.encode(dashboard), as: UTF8.self)
        }
    }
}
