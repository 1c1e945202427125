import CisternReport
import CisternServer
import Foundation
import Testing

@testable import Perf

@Suite("The report")
struct ReportTests {
    @Test(
        "the report is one self-contained page with the plots of its kind of result",
        arguments: [
            ("tiers", 3), ("engine", 1), ("http", 1), ("leases", 3),
        ])
    func page(kind: String, plots: Int) throws {
        var result = ResultTests.result(
            kind,
            rows: ["leased, library", "cache, HTTP"].map { name in
                (
                    name,
                    [
                        .decisionsPerSecond: [100, 200], .nanosecondsPerDecision: [5, 6],
                        .storeCallsPerThousand: [3, 4],
                        .underAdmissionPercent: [1, 2], .outstandingTokens: [7, 8], .p99Microseconds: [9, 9],
                    ]
                )
            })
        result.rows[0].settings = ["leaseHorizon": "100ms", "leaseDuration": "2000ms"]
        result.rows[1].settings = ["leaseHorizon": "250ms", "leaseDuration": "2000ms"]
        let html = HTMLReport(result, columns: [.decisionsPerSecond, .p99Microseconds], comparison: nil).html
        #expect(html.matches(of: /<svg\b/).count == plots)
        #expect(html.matches(of: /(<polyline|<rect) class="(line|bar) series-\d/).count >= plots)
        for word in ["http://", "https://", "<script", "<link", "@import", "src=", "url("] {
            #expect(!html.contains(word), "\(word)")
        }
        #expect(html.contains("prefers-color-scheme: dark"))
        #expect(!html.contains("=\"nan") && !html.contains("inf"))
    }

    @Test("the report escapes markup in names")
    func escapes() {
        let result = ResultTests.result("http", rows: [("<b>&\"", [.failed: [0]])])
        let html = HTMLReport(result, columns: [.failed], comparison: nil).html
        #expect(html.contains("&lt;b&gt;&amp;&quot;"))
        #expect(!html.contains("<b>"))
    }

    @Test("axes have round tick marks and place values in order")
    func axes() {
        let logarithmic = Axis(.logarithmic, showing: [3, 0, 4000], from: 0, to: 400)
        #expect(logarithmic.marks.map(\.text) == ["1", "10", "100", "1k", "10k"])
        #expect(logarithmic.position(1) == 0)
        #expect(abs(logarithmic.position(100) - 200) < 1e-9)
        #expect(logarithmic.position(0) == 0)
        let linear = Axis(.linear, showing: [4.4], from: 100, to: 0)
        #expect(linear.marks.map(\.text) == ["0", "1", "2", "3", "4"])
        #expect(linear.position(0) == 100)
        #expect(Axis(.linear, showing: [], from: 0, to: 1).marks.count > 1)
        #expect(
            Axis.formatted(1_234_567) == "1.23M" && Axis.formatted(1500) == "1.5k" && Axis.formatted(0.125) == "0.125")
    }

    @Test("progress is shown as a bar on a terminal, and as a line per step elsewhere")
    func progress() {
        #expect(Progress.line(1, of: 4, "cache", isTerminal: false) == "2 of 4: cache\n")
        #expect(
            Progress.line(1, of: 4, "cache", isTerminal: true) == "\r\u{1b}[K██████░░░░░░░░░░░░░░░░░░ 25 %  cache")
    }
}
