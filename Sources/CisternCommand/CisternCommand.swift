internal import ArgumentParser

/// The `cistern` command.
@main
struct CisternCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cistern",
        abstract: "A distributed rate limiter that decides from local memory and never admits more than the limit.",
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
