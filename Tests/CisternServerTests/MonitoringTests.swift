import CisternProcesses
import CisternTesting
import Foundation
import Testing
import Yams

@testable import CisternAdmin
@testable import CisternServer

/// The metrics in use by Prometheus, its alert rules and Grafana.
@Suite("Monitoring")
struct MonitoringTests {
    private func export(_ arguments: String...) async throws -> String {
        let process = try CisternProcess.run(["export"] + arguments)
        #expect(try await process.exitCode() == 0, "\(process.text)")
        return process.text
    }

    private func promtool(_ arguments: [String]) async throws {
        let process = try ChildProcess("promtool", arguments)
        #expect(try await process.exitCode() == 0, "\(process.text)")
    }

    @Test("the alert rules pass promtool, and each fires on its condition and not before")
    func alerts() async throws {
        let folder = try TemporaryDirectory()
        let rules = try await export("alerts")
        try folder.write(rules, to: "rules.yaml")
        try await promtool(["check", "rules", folder.path + "/rules.yaml"])
        try folder.write(Self.ruleTests, to: "tests.yaml")
        try await promtool(["test", "rules", folder.path + "/tests.yaml"])
        // The tests do depend on these rules: with a changed threshold, one fails.
        let wrong = rules.replacing("cistern_node_up == 0", with: "cistern_node_up == 2")
        #expect(wrong != rules)
        try folder.write(wrong, to: "rules.yaml")
        let process = try ChildProcess("promtool", ["test", "rules", folder.path + "/tests.yaml"])
        #expect(try await process.exitCode() != 0)
        for rule in AlertRules.all {
            let isTested = [
                "alertname: \(rule.name)\n        exp_alerts:", #"alertname="\#(rule.name)",alertstate="firing",inst"#,
            ]
            .contains { Self.ruleTests.contains($0) }
            #expect(isTested, "\(rule.name)")
        }
    }

    /// For each alert: a quiet period, then input that must fire it.
    private static let ruleTests = """
        rule_files: [rules.yaml]
        evaluation_interval: 15s
        tests:
          - interval: 15s
            input_series:
              - {series: 'cistern_node_up{instance="a",node="n1"}', values: '1x20 0x20'}
              - {series: 'cistern_decisions_total{instance="a",outcome="unmetered"}', values: '0x20 0+100x40'}
              - {series: 'cistern_decisions_total{instance="a",outcome="refused"}', values: '0x20 0+100x40'}
              - {series: 'cistern_limits_file_rejected{instance="a"}', values: '0x20 1x20'}
            alert_rule_test:
              - {eval_time: 5m, alertname: CisternNodeDown}
              - {eval_time: 5m, alertname: CisternDecisionsUnmetered}
              - {eval_time: 5m, alertname: CisternDecisionsRefused}
              - {eval_time: 5m, alertname: CisternLimitsFileRejected}
              - eval_time: 7m
                alertname: CisternNodeDown
                exp_alerts:
                  - exp_labels: {severity: critical, instance: a, node: n1}
                    exp_annotations:
                      summary: a cannot use Redis node n1
                      description: Its organizations follow onStoreFailure. `cistern nodes` and /v1/health say what is
                        wrong and what to do.
              - eval_time: 8m
                alertname: CisternLimitsFileRejected
                exp_alerts:
                  - exp_labels: {severity: warning, instance: a}
                    exp_annotations:
                      summary: a rejects its limits file and keeps the previous limits
                      description: "`cistern check FILE` says which line and why."
            promql_expr_test:
              - expr: ALERTS{alertname="CisternDecisionsUnmetered",alertstate="firing"}
                eval_time: 10m
                exp_samples:
                  - labels: >-
                      ALERTS{alertname="CisternDecisionsUnmetered",alertstate="firing",instance="a",severity="critical"}
                    value: 1
              - expr: ALERTS{alertname="CisternDecisionsRefused",alertstate="firing"}
                eval_time: 10m
                exp_samples:
                  - labels: >-
                      ALERTS{alertname="CisternDecisionsRefused",alertstate="firing",instance="a",severity="critical"}
                    value: 1
          - interval: 15s
            input_series:
              - {series: 'cistern_decisions_total{instance="a",outcome="allowed"}', values: '0+3000x120'}
              - {series: 'cistern_decisions_total{instance="a",outcome="denied"}', values: '0x20 0+9000x100'}
              - {series: 'cistern_store_wait_seconds_count{instance="a"}', values: '0x20 0+12000x120'}
              - {series: 'cistern_node_latency_seconds_bucket{instance="a",node="n1",le="0.05"}', values: '0x160'}
              - {series: 'cistern_node_latency_seconds_bucket{instance="a",node="n1",le="0.1"}', values: '0x20
                0+100x140'}
              - {series: 'cistern_node_latency_seconds_bucket{instance="a",node="n1",le="+Inf"}', values: '0x20
                0+100x140'}
              - {series: 'cistern_event_loop_lag_seconds_bucket{instance="a",le="0.05"}', values: '0x160'}
              - {series: 'cistern_event_loop_lag_seconds_bucket{instance="a",le="0.1"}', values: '0x20 0+100x140'}
              - {series: 'cistern_event_loop_lag_seconds_bucket{instance="a",le="+Inf"}', values: '0x20 0+100x140'}
            alert_rule_test:
              - {eval_time: 5m, alertname: CisternOverLimitSurge}
              - {eval_time: 5m, alertname: CisternLeaseMisses}
              - {eval_time: 5m, alertname: CisternNodeSlow}
              - {eval_time: 5m, alertname: CisternEventLoopLag}
            promql_expr_test:
              - expr: ALERTS{alertstate="firing",severity="warning"}
                eval_time: 28m
                exp_samples:
                  - labels: >-
                      ALERTS{alertname="CisternOverLimitSurge",alertstate="firing",instance="a",severity="warning"}
                    value: 1
                  - labels: 'ALERTS{alertname="CisternLeaseMisses",alertstate="firing",instance="a",severity="warning"}'
                    value: 1
                  - labels: >-
                      ALERTS{alertname="CisternNodeSlow",alertstate="firing",instance="a",node="n1",severity="warning"}
                    value: 1
                  - labels: >-
                      ALERTS{alertname="CisternEventLoopLag",alertstate="firing",instance="a",severity="warning"}
                    value: 1
        """

    @Test("exports name only metrics that the server has, and Grafana's expressions can be parsed")
    func names() async throws {
        let known = Set(MetricFamily.all.map(\.name))
        let texts = [try await export("alerts"), try await export("grafana")]
        for text in texts {
            let named = text.matches(of: /cistern_[a-z_]+/).map { String($0.0) }
            #expect(named.count > 10)
            for name in named {
                let family = ["_bucket", "_sum", "_count"].reduce(name) { name, suffix in
                    known.contains(name) || !name.hasSuffix(suffix) ? name : String(name.dropLast(suffix.count))
                }
                #expect(known.contains(family), "\(name)")
            }
        }
        let expressions = GrafanaDashboard.panels.flatMap { $0.targets.map(\.expression) }
        let rules = expressions.enumerated().map { index, expression in
            let expression = expression.replacing("$__rate_interval", with: "5m").replacing("$instance", with: ".*")
            return "      - {record: 'panel:\(index)', expr: '\(expression)'}"
        }
        let folder = try TemporaryDirectory()
        let text = "groups:\n  - name: grafana\n    rules:\n" + rules.joined(separator: "\n") + "\n"
        let path = try folder.write(text, to: "rules.yaml")
        try await promtool(["check", "rules", path])
        let dashboard = try #require(
            try JSONSerialization.jsonObject(with: Data(texts[1].utf8)) as? [String: Any])
        #expect((dashboard["panels"] as? [[String: Any]])?.count == GrafanaDashboard.panels.count)
    }

    @Test("the metrics page has exactly the declared metrics, each with its kind and help")
    func families() async throws {
        let redis = try await RedisServer()
        let server = try await CisternProcess(["--redis", redis.url])
        let text = try server.admin.get("/v1/metrics").body
        let found = text.matches(of: /# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n/).map { "\($0.1) \($0.3) \($0.2)" }
        #expect(found == MetricFamily.all.map { "\($0.name) \($0.kind.rawValue) \($0.help)" })
        let folder = try TemporaryDirectory()
        let path = try folder.write(text, to: "metrics.txt")
        let check = try ChildProcess("/bin/sh", ["-c", "promtool check metrics < '\(path)'"])
        #expect(try await check.exitCode() == 0 && check.text == "", "\(check.text)")
    }

    @Test("a real Prometheus scrapes both ports, and its queries return the decisions")
    func prometheus() async throws {
        let folder = try TemporaryDirectory()
        let secret = "a-secret-for-prometheus"
        try folder.write("prometheus:\(secret)\n", to: "tokens")
        let server = try await CisternProcess(["--admin-token-file", folder.path + "/tokens"])
        for _ in 0..<42 { #expect(try server.exchange(HTTPRequestText.chat("acme")).status == 200) }
        let rules = try await export("alerts")
        try folder.write(rules, to: "rules.yaml")
        let config = """
            global: {scrape_interval: 1s}
            rule_files: [rules.yaml]
            scrape_configs:
              - job_name: data
                static_configs: [{targets: ['127.0.0.1:\(server.port)']}]
              - job_name: admin
                metrics_path: /v1/metrics
                authorization: {credentials: \(secret)}
                static_configs: [{targets: ['127.0.0.1:\(server.admin.port)']}]
            """
        try folder.write(config, to: "prometheus.yaml")
        let port = try Socket.freePort()
        let prometheus = try ChildProcess(
            "prometheus",
            [
                "--config.file=\(folder.path)/prometheus.yaml", "--storage.tsdb.path=\(folder.path)/data",
                "--web.listen-address=127.0.0.1:\(port)", "--log.level=warn",
            ])
        for job in ["data", "admin"] {
            let query = "sum(cistern_decisions_total%7Bjob%3D%22\(job)%22%7D)"
            try await eventually("the decisions in Prometheus; it wrote: \(prometheus.text)", within: 60) {
                guard prometheus.isRunning else { throw ChildProcess.Failure(description: prometheus.text) }
                let request = HTTPRequestText.plain("GET", "/api/v1/query?query=\(query)")
                guard let reply = try? Socket(port: port).exchange(request) else { return false }
                return reply.body.contains(#","42"]"#)
            }
        }
        prometheus.signal(SIGTERM)
        #expect(try await prometheus.exitCode() == 0)
    }

    // MARK: Deployments

    @Test("the Kubernetes deployment is valid, probes the data port, and has settings that the server accepts")
    func kubernetes() async throws {
        let text = try await export("kubernetes", "--replicas", "5", "--image", "registry/cistern:1")
        let documents = try Yams.load_all(yaml: text).compactMap { $0 as? [String: Any] }
        #expect(
            documents.map { $0["kind"] as? String } == ["ConfigMap", "Deployment", "Service", "PodDisruptionBudget"])
        let data = try #require(documents[0]["data"] as? [String: String])
        let folder = try TemporaryDirectory()
        for (name, text) in data {
            let text = text.replacing("/etc/cistern", with: folder.path)
            try folder.write(text, to: name)
        }
        for name in data.keys {
            let check = try CisternProcess.run(["check", "\(folder.path)/\(name)"])
            #expect(try await check.exitCode() == 0, "\(check.text)")
        }
        #expect(text.contains("replicas: 5\n") && text.contains("image: \"registry/cistern:1\"\n"))
        #expect(text.components(separatedBy: "httpGet: {path: /health, port: http}").count == 3)
        #expect(text.contains("enableServiceLinks: false\n") && text.contains("preStop:"))
        // The server starts with the variables that Kubernetes sets for the Service.
        let service = try #require((documents[2]["metadata"] as? [String: Any])?["name"] as? String)
        let variable = service.uppercased().replacing("-", with: "_") + "_PORT"
        #expect(!variable.hasPrefix("CISTERN_"))
        let server = try await CisternProcess(environment: [variable: "tcp://10.0.0.1:80"])
        #expect(try server.get("/health").contains("ok"))
        let path = try folder.write(text, to: "manifest.yaml")
        let validator = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../.build/venv/bin/kubernetes-validate").standardized.path
        let validation = try ChildProcess(validator, ["--strict", path])
        #expect(try await validation.exitCode() == 0, "\(validation.text)")
        let broken = try folder.write(text.replacing("replicas: 5", with: "replicas: five"), to: "broken.yaml")
        #expect(try await ChildProcess(validator, ["--strict", broken]).exitCode() != 0)
    }

    @Test("the systemd unit names the program and its settings, and invalid flags of an export are rejected")
    func systemd() async throws {
        let unit = try await export("systemd", "--program", "/opt/cistern", "--config", "/etc/c.yaml")
        #expect(unit.contains("ExecStart=/opt/cistern serve --config /etc/c.yaml\n"))
        #expect(unit.contains("ExecReload=/bin/kill -HUP $MAINPID\n") && unit.contains("NoNewPrivileges=yes\n"))
        for (arguments, message) in [
            (["systemd", "--program", "cistern"], "--program is 'cistern': use an absolute path"),
            (["kubernetes", "--replicas", "0"], "--replicas is '0': use a whole number from 1 to 1000"),
            (["kubernetes", "--redis", "http://x"], "--redis: "),
            (["kubernetes", "--image", "a b"], "--image is 'a b'"),
        ] {
            let process = try CisternProcess.run(["export"] + arguments)
            #expect(try await process.exitCode() == 64)
            #expect(process.text.contains(message), "\(process.text)")
        }
    }
}
