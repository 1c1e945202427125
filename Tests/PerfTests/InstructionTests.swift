import CisternProcesses

// Valgrind does not run on macOS, and instruction counts differ between processors.
#if os(Linux) && arch(x86_64)
    import CisternTesting
    import Foundation
    import Testing

    /// The instructions of a decision, counted by valgrind.
    ///
    /// Unlike times, they are the same on a busy machine.
    @Suite("The instructions of a decision")
    struct InstructionTests {
        /// The measured instructions of a decision, by the kind that `DecisionCount` takes as its argument.
        ///
        /// The test allows 5 % more, which another compiler may need. To update the numbers, run ``build`` and this
        /// suite, and copy the numbers that it prints.
        private static let measured = [
            "embedded": 213.0, "leased": 187, "embeddedDecision": 249, "leasedDecision": 223, "denied": 1565,
        ]

        /// Builds the program; `make test` runs it first.
        private static let build =
            "swift build -c release --package-path Tests/DecisionCount --scratch-path .build/count"

        @Test(
            "instructions stay within 5 % above the measured number, for each kind of decision",
            arguments: measured.keys.sorted())
        func count(kind: String) async throws {
            let once = try await instructions(of: 20_000, kind)
            let twice = try await instructions(of: 40_000, kind)
            // Both runs include the instructions of the startup.
            let each = Double(twice - once) / 20_000
            print("a decision, \(kind): \(each) instructions")
            let measured = try #require(Self.measured[kind])
            #expect(each <= measured * 1.05)
            #expect(each >= measured * 0.8, "the count has fallen by over 20 %: update the measured number")
        }

        private func instructions(of decisions: Int, _ kind: String) async throws -> Int {
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized
            let program = root.appending(path: ".build/count/release/DecisionCount").path
            try #require(
                FileManager.default.isExecutableFile(atPath: program),
                "build it first: \(Self.build)")
            let valgrind = try ChildProcess(
                "valgrind",
                ["--tool=callgrind", "--callgrind-out-file=/dev/null", program, kind, "\(decisions)"])
            let code = try await valgrind.exitCode(within: 120)
            let text = valgrind.text
            #expect(code == 0, "\(text)")
            let match = try #require(text.firstMatch(of: /Collected : ([0-9]+)/), "\(text)")
            return try #require(Int(match.1))
        }
    }
#endif
