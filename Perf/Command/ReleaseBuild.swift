internal import ArgumentParser
internal import Foundation

/// Replaces a debug build with the release build, because timings of a debug build are meaningless.
enum ReleaseBuild {
    /// In a debug build, prints a notice and executes the release build with the same arguments.
    ///
    /// Smoke runs continue in the debug build, because they check counts, which are the same.
    static func reexecute(_ arguments: [String]) {
        guard !Machine.isRelease, !arguments.contains("--smoke"), !isHelp(arguments),
            arguments.first != BaselineCommand.configuration.commandName
        else { return }
        FileHandle.standardError.write(
            Data("perf: timings of a debug build are meaningless; switching to the release build\n".utf8))
        let package = URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
        let words = ["swift", "run", "-c", "release", "--package-path", package, "perf"] + arguments
        var pointers = words.map { strdup($0) } + [nil]
        execvp("swift", &pointers)
        FileHandle.standardError.write(
            Data(
                "perf: 'swift' cannot be run (\(String(cString: strerror(errno)))): use 'swift run -c release perf'\n"
                    .utf8))
        exit(PerfError.Code.unavailable.rawValue)
    }

    private static func isHelp(_ arguments: [String]) -> Bool {
        arguments.contains { ["-h", "--help", "help"].contains($0) }
    }
}
