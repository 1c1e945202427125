// Valgrind is not on macOS, and another processor has other instructions.
#if os(Linux) && arch(x86_64)
    import CisternTesting
    import Foundation
    import Testing

    /// Instructions of a decision, counted by valgrind: they come out the same on a busy machine, where times do not.
    @Suite("The instructions of a decision")
    struct InstructionTests {
        /// What a decision takes at most, by the kind that `DecisionCount` is asked for.
        ///
        /// Measured, and 5 % on top, which is what another compiler may need. To state them anew: `swift build -c release
        /// --product DecisionCount`, run this suite, and write down what it prints.
        private static let measured = [
            "embedded": 221.0, "leased": 193, "embeddedDecision": 236, "leasedDecision": 211, "denied": 898,
        ]

        @Test(
            "stay what they were, whether it is allowed from a bucket or a lease, with what is left or without, or denied",
            arguments: measured.keys.sorted())
        func count(kind: String) async throws {
            let once = try await instructions(of: 20_000, kind)
            let twice = try await instructions(of: 40_000, kind)
            // What starting takes is in both.
            let each = Double(twice - once) / 20_000
            print("a decision, \(kind): \(each) instructions")
            let measured = try #require(Self.measured[kind])
            #expect(each <= measured * 1.05)
            #expect(each >= measured * 0.8, "it has become so much better that less should be allowed")
        }

        private func instructions(of decisions: Int, _ kind: String) async throws -> Int {
            let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized
            let program = root.appending(path: ".build/release/DecisionCount").path
            try #require(
                FileManager.default.isExecutableFile(atPath: program),
                "build it first: swift build -c release --product DecisionCount")
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
