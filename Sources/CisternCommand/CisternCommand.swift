internal import ArgumentParser

/// The `cistern` command.
@main
struct CisternCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cistern",
        abstract: "A rate limiter that decides from its own memory and never lets one request too many through.",
        version: "0.1.0",
        subcommands: [
            ServeCommand.self, SimulateCommand.self, TuneCommand.self, NodesCommand.self, InspectCommand.self,
            OverridesCommand.self, CheckCommand.self, ExportCommand.self,
        ])

    static func main() async {
        StandardStreams.openClosed()
        CommandLineSecrets.hide()
        await main(nil)
    }
}
