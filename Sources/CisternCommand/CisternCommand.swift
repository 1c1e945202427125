internal import ArgumentParser

/// The `cistern` command.
@main
struct CisternCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cistern",
        abstract: "A rate limiter that decides from its own memory and never lets one request too many through.",
        subcommands: [
            ServeCommand.self, SimulateCommand.self, TuneCommand.self, NodesCommand.self, InspectCommand.self,
            CheckCommand.self, ExportCommand.self,
        ])

    static func main() async {
        CommandLineSecrets.hide()
        await main(nil)
    }
}
