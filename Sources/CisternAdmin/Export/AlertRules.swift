/// The Prometheus alert rules for a fleet of servers.
package enum AlertRules {
    /// One rule.
    struct Rule {
        let name: String
        let expression: String
        /// How long the expression must hold before the alert fires.
        let pending: String
        /// `critical` pages the operator; `warning` can wait until the morning.
        let severity: String
        let summary: String
        let remedy: String
    }

    private static func rate(_ family: MetricFamily, _ suffix: String = "", _ labels: String = "", by: String) -> String
    {
        "sum by (\(by)) (rate(\(family.name)\(suffix)\(labels.isEmpty ? "" : "{\(labels)}")[5m]))"
    }

    static let all: [Rule] = [
        Rule(
            name: "CisternNodeDown", expression: "\(MetricFamily.nodeUp.name) == 0", pending: "30s",
            severity: "critical",
            summary: "{{ $labels.instance }} cannot use Redis node {{ $labels.node }}",
            remedy:
                "Its organizations follow onStoreFailure. `cistern nodes` and /v1/health say what is wrong and "
                + "what to do."
        ),
        Rule(
            name: "CisternDecisionsUnmetered",
            expression: rate(.decisions, "", #"outcome="unmetered""#, by: "instance") + " > 0", pending: "1m",
            severity: "critical",
            summary: "{{ $labels.instance }} allows {{ $value | humanize }} requests per second unmetered",
            remedy:
                "A node is out of reach or overloaded and onStoreFailure is open: see CisternNodeDown and node latency."
        ),
        Rule(
            name: "CisternDecisionsRefused",
            expression: rate(.decisions, "", #"outcome="refused""#, by: "instance") + " > 0", pending: "2m",
            severity: "critical",
            summary: "{{ $labels.instance }} refuses {{ $value | humanize }} requests per second with 503",
            remedy: "onStoreFailure is closed and a node is down, or a bound was reached: see maxWaiters, maxBuckets."),
        Rule(
            name: "CisternOverLimitSurge",
            expression: rate(.decisions, "", #"outcome="denied""#, by: "instance") + " / "
                + rate(.decisions, by: "instance") + " > 0.5 and " + rate(.decisions, by: "instance") + " > 10",
            pending: "5m", severity: "warning",
            summary: "{{ $labels.instance }} denies {{ $value | humanizePercentage }} of its requests",
            remedy:
                "The dashboard lists the most denied organizations: raise a limit there, unless it is an attack."),
        Rule(
            name: "CisternLeaseMisses",
            expression: rate(.storeWait, "_count", by: "instance") + " / " + rate(.decisions, by: "instance")
                + " > 0.5 and " + rate(.decisions, by: "instance") + " > 100", pending: "15m", severity: "warning",
            summary: "{{ $labels.instance }}: {{ $value | humanizePercentage }} of the decisions wait for the store",
            remedy:
                "Leases are too small or too late: raise leaseHorizon and leasePrefetch; `cistern tune` finds settings."
        ),
        Rule(
            name: "CisternNodeSlow",
            expression: "histogram_quantile(0.99, " + rate(.nodeLatency, "_bucket", by: "instance, node, le")
                + ") > 0.05",
            pending: "5m", severity: "warning",
            summary:
                "Redis node {{ $labels.node }} answers {{ $labels.instance }} in {{ $value | humanizeDuration }} (p99)",
            remedy: "After storeTimeout the failure policy decides: check the node's load and the network."),
        Rule(
            name: "CisternLimitsFileRejected", expression: "\(MetricFamily.limitsRejected.name) == 1", pending: "0s",
            severity: "warning",
            summary: "{{ $labels.instance }} rejects its limits file and keeps the previous limits",
            remedy: "`cistern check FILE` says which line and why."),
        Rule(
            name: "CisternEventLoopLag",
            expression: "histogram_quantile(0.99, " + rate(.eventLoopLag, "_bucket", by: "instance, le") + ") > 0.05",
            pending: "5m", severity: "warning",
            summary: "{{ $labels.instance }}: event loops are {{ $value | humanizeDuration }} late (p99)",
            remedy: "The machine is short of processor time: give it more, or add servers."),
    ]

    /// The rules as a YAML file, for Prometheus' `rule_files`.
    package static var yaml: String {
        var lines = ["groups:", "  - name: cistern", "    rules:"]
        for rule in all {
            lines += [
                "      - alert: \(rule.name)", "        expr: \(quoted(rule.expression))",
                "        for: \(rule.pending)", "        labels:", "          severity: \(rule.severity)",
                "        annotations:", "          summary: \(quoted(rule.summary))",
                "          description: \(quoted(rule.remedy))",
            ]
        }
        return lines.joined(separator: "\n")
    }

    /// Quotes a text as a single-quoted YAML scalar.
    private static func quoted(_ text: String) -> String {
        "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") + "'"
    }
}
