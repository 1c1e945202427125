internal import ArgumentParser
internal import CisternAdmin
internal import CisternRedis

/// `cistern export`: prints files for monitoring and deployment.
struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Print alert rules, a Grafana dashboard, a systemd unit or a Kubernetes deployment.",
        subcommands: [Alerts.self, Grafana.self, Systemd.self, Kubernetes.self])

    struct Alerts: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Alert rules for Prometheus, as a file for rule_files.")

        func run() {
            print(AlertRules.yaml)
        }
    }

    struct Grafana: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "A dashboard for Grafana, as JSON to import.")

        func run() throws {
            print(try GrafanaDashboard.json)
        }
    }

    struct Systemd: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A unit for systemd, sandboxed to what the server needs.")

        @Option(help: ArgumentHelp("Path of the program.", valueName: "file")) var program = "/usr/local/bin/cistern"
        @Option(help: ArgumentHelp("Settings file.", valueName: "file")) var config = "/etc/cistern/cistern.yaml"

        func run() throws {
            for (flag, path) in [("program", program), ("config", config)] {
                guard path.hasPrefix("/"), !path.contains(where: \.isWhitespace) else {
                    throw Exit.say("--\(flag) is '\(path)': use an absolute path without spaces", code: .usage)
                }
            }
            print(Deployment.systemdUnit(program: program, config: config))
        }
    }

    struct Kubernetes: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A manifest for Kubernetes: settings, servers with probes, and a service.")

        @Option(help: ArgumentHelp("The image with the program as its entry point.", valueName: "name"))
        var image = "cistern:latest"
        @Option(help: ArgumentHelp("Number of servers, 1 to 1000.", valueName: "count")) var replicas = "3"
        @Option(help: ArgumentHelp("Redis that the servers share.", valueName: "url")) var redis = "redis://redis:6379"

        func run() throws {
            guard let count = Int(replicas), 1...1000 ~= count else {
                throw Exit.say("--replicas is '\(replicas)': use a whole number from 1 to 1000", code: .usage)
            }
            guard !image.isEmpty, !image.contains(where: { $0.isWhitespace || $0 == "'" || $0 == "\"" }) else {
                throw Exit.say("--image is '\(image)': use the name of an image", code: .usage)
            }
            do {
                _ = try RedisEndpoint(url: redis)
            } catch {
                throw Exit.say("--redis: \(error)", code: .usage)
            }
            print(Deployment.kubernetesManifest(image: image, replicas: count, redis: redis))
        }
    }
}
