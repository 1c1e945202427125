internal import ArgumentParser
internal import CisternServer
internal import Foundation
internal import Logging
internal import ServiceLifecycle
internal import UnixSignals

/// `cistern serve`: runs a server until SIGTERM or SIGINT.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the data plane over HTTP.",
        discussion: """
            Settings come from these flags, then from environment variables (CISTERN_ and the flag's name in upper \
            case with underscores), then from the --config file. SIGTERM drains connections, returns every lease and \
            exits with code 0. SIGHUP reloads limits, admin tokens, certificates and the Redis nodes. The limits file \
            and the certificates are also reloaded when they change. Exit codes: 64 for an invalid setting, 69 if the \
            server cannot listen on an address.
            """)

    @OptionGroup var options: ServeOptions

    func run() async throws {
        let (flags, config) = (options.values, options.config)
        let readSettings: @Sendable (_ readsLimits: Bool) throws -> ServerSettings = { readsLimits in
            try ServerSettings(
                flags: flags, environment: ProcessInfo.processInfo.environment, configPath: config,
                readsLimits: readsLimits)
        }
        let settings: ServerSettings
        do {
            settings = try readSettings(true)
        } catch {
            throw Exit.say("\(error)", code: .usage)
        }
        let format: LineLogHandler.Format = isatty(STDERR_FILENO) == 1 ? .text : .json
        let throttle = WarningThrottle()
        let log = LogWriter(descriptor: STDERR_FILENO) { LineLogHandler.droppedNotice($0, format: format) }
        LoggingSystem.bootstrap { _ in
            LineLogHandler(format: format, throttle: throttle) { log.write($0) }
        }
        var logger = Logger(label: "cistern")
        logger.logLevel = settings.logLevel
        logger.debug("starting", metadata: ["jemalloc": "\(Allocator.version)"])
        let reread: @Sendable () throws -> ServerSettings = { try readSettings(false) }
        for variable in settings.ignoredVariables {
            logger.warning(
                "an environment variable is ignored: Kubernetes sets it for a Service of that name",
                metadata: ["variable": "\(variable)", "remedy": "set enableServiceLinks: false in the pod's spec"])
        }
        let service = CisternService(
            settings: settings, rereadSettings: reread, droppedLogLines: { log.droppedLines }, logger: logger
        ) { host, port in
            let name = host.contains(":") ? "[\(host)]" : host
            StandardStreams.write("listening on http://\(name):\(port)\n", to: STDOUT_FILENO)
        }
        defer { log.flush(milliseconds: 500) }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        do {
            try await group.run()
        } catch let error as StartError {
            throw Exit.say(error.description, code: .unavailable)
        }
    }
}

/// The exit codes of failed commands; all but `broken` are from sysexits.h.
enum Exit: Int32 {
    /// A simulated world violated an invariant.
    case broken = 1
    case usage = 64
    /// A file has invalid contents.
    case data = 65
    /// A file cannot be read.
    case noInput = 66
    case unavailable = 69

    /// Writes one line to standard error and returns the exit code to throw.
    static func say(_ text: String, code: Exit) -> ExitCode {
        StandardStreams.write("cistern: \(text)\n", to: STDERR_FILENO)
        return ExitCode(code.rawValue)
    }
}
