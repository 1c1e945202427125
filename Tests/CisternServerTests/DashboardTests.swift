import CisternProcesses
import CisternTesting
import Foundation
import Testing

/// The dashboard in a real browser, on real servers.
///
/// Screenshots are kept in `.build/screenshots`.
@Suite("The dashboard")
struct DashboardTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent(".build/screenshots")

    private func keep(_ name: String, _ browser: Browser) throws {
        try FileManager.default.createDirectory(at: Self.folder, withIntermediateDirectories: true)
        try browser.screenshot().write(to: Self.folder.appendingPathComponent("\(name).png"))
    }

    private func url(_ server: CisternProcess) -> String { "http://127.0.0.1:\(server.admin.port)/" }

    private func points(_ browser: Browser, _ chart: String = "decisions") throws -> Double {
        try browser.number("[data-chart=\(chart)]", "data-points") ?? 0
    }

    private func value(_ browser: Browser, _ chart: String) throws -> Double? {
        try browser.number("[data-chart=\(chart)]", "data-value")
    }

    /// Expects that the page is not wider than its window.
    private func expectFits(_ browser: Browser) throws {
        let width = try browser.evaluate("return document.documentElement.scrollWidth - window.innerWidth") as? Double
        #expect(width == 0)
    }

    private func openOrganization(_ name: String, _ browser: Browser) async throws {
        try browser.type("\(name)\u{E007}", into: "#search-organization")
        try await eventually("the organization to be shown") {
            try browser.attribute("#organization", "data-organization") == name
                && browser.number("#organization", "data-balance") != nil
        }
    }

    @Test("charts move under load, an override stops the 429s, and a longer horizon reduces store calls")
    func steers() async throws {
        let nodes = [try await RedisServer(), try await RedisServer()]
        let server = try await CisternProcess([
            "--redis", nodes.map(\.url).joined(separator: ","), "--lease-horizon", "20ms", "--lease-prefetch", "5ms",
            "--store-timeout", "1s", "--refill-per-second", "200",
        ])
        try await Browser.run { browser in
            try browser.open(url(server))
            let load = Load(port: server.port, connections: 2, organizations: 1)
            try await eventually("the charts to have moved") {
                try points(browser) >= 5 && (value(browser, "decisions") ?? 0) > 300
            }
            #expect(try browser.text("#state") == "all well")
            #expect(try !browser.isShown("#connection"))
            #expect(try browser.text("#busiest-denied").contains("org-0"))
            try await openOrganization("org-0", browser)
            try await eventually("a 429") { try server.exchange(HTTPRequestText.chat("org-0")).status == 429 }
            try keep("denied", browser)

            try browser.type("1000000", into: "#override-capacity")
            try browser.type("1000000", into: "#override-refill")
            try browser.click("#override-apply")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try keep("confirm", browser)
            try browser.press("\u{E00C}")
            try await eventually("Escape to close it") { try !browser.isShown("#confirm") }
            #expect(try server.exchange(HTTPRequestText.chat("org-0"))["X-RateLimit-Limit"] == "100")
            try browser.click("#override-apply")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try browser.click("#confirm-yes")
            try await eventually("the 429s to stop") {
                try server.exchange(HTTPRequestText.chat("org-0")).status == 200
            }
            try await eventually("the page to show the bucket under its new limit") {
                (try browser.number("#organization", "data-balance") ?? 0) > 1000
            }
            #expect(try browser.text("#organization-message") != "")
            try await eventually("a second without denials") { try server.admin.sample("denied") == 0 }

            try await eventually("store calls in the chart") { (try value(browser, "storeCalls") ?? 0) > 5 }
            let before = try #require(try value(browser, "storeCallsPerThousand"))
            try browser.type("1000", into: "#lease-horizon")
            try browser.click("#lease-apply")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try browser.click("#confirm-yes")
            try await eventually("fewer store calls in the same chart") {
                guard let now = try value(browser, "storeCallsPerThousand") else { return false }
                return now < before / 3
            }
            try keep("tuned", browser)

            try browser.click("#bucket-reset")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try browser.click("#confirm-no")
            try browser.click("#override-remove")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try browser.click("#confirm-yes")
            try await eventually("the old limit") {
                try server.exchange(HTTPRequestText.chat("org-0"))["X-RateLimit-Limit"] == "100"
            }
            _ = try await load.stop()
            let complaints = try browser.complaints()
            #expect(complaints == [])
        }
    }

    @Test("the page reports the loss of a node or of the server, and recovers when they are back")
    func losses() async throws {
        let nodes = [try await RedisServer(), try await RedisServer(), try await RedisServer()]
        let port = try Socket.freePort()
        let arguments = ["--redis", nodes.map(\.url).joined(separator: ","), "--admin-port", "\(port)"]
        var server = try await CisternProcess(arguments)
        try await Browser.run { browser in
            try browser.open("http://127.0.0.1:\(port)/")
            let lost = "127.0.0.1:\(nodes[1].port)"
            let selector = "[data-node=\"\(lost)\"]"
            try await eventually("the nodes") { try browser.attribute(selector, "data-state") == "up" }
            try await nodes[1].kill()
            try await eventually("the node shown as down") { try browser.attribute(selector, "data-state") == "down" }
            let state = try browser.text("#state")
            #expect(state.contains("1 of 3 nodes is down") && state.contains("unmetered"), "\(state)")
            try await eventually("the reason") { try browser.text(selector).contains("Connection refused") }
            try keep("node-down", browser)
            let back = try await RedisServer(port: nodes[1].port)
            try await eventually("the page to show the node as up") { try browser.text("#state") == "all well" }

            server.process.signal(SIGKILL)
            _ = try await server.process.exitCode()
            try await eventually("the page to report the lost connection") { try browser.isShown("#connection") }
            #expect(try browser.text("#connection").contains("no connection to the server since"))
            try keep("server-gone", browser)
            server = try await CisternProcess(arguments)
            try await eventually("the page to recover", within: 60) {
                try !browser.isShown("#connection") && browser.text("#state") == "all well"
            }
            _ = back
        }
    }

    @Test("the page lists events and overrides, and editing an override keeps its expiry time")
    func journal() async throws {
        let server = try await CisternProcess()
        let body = #"{"capacity":7,"refillPerSecond":1,"expiresInSeconds":480}"#
        #expect(try server.admin.send("PUT", "/v1/organizations/acme/limit", json: body).status == 200)
        try await Browser.run { browser in
            try browser.open(url(server))
            try await eventually("the override") { try browser.text("#overrides").contains("acme") }
            #expect(try browser.text("#journal").contains("a limit was overridden"))
            try keep("journal", browser)
            try await openOrganization("acme", browser)
            try await eventually("the form") { try browser.text("#override-now").contains("left") }
            #expect(
                try browser.evaluate("return document.getElementById('override-expiry').value") as? String == "keep")
            try browser.type("953", into: "#override-capacity")
            try browser.click("#override-apply")
            try await eventually("the confirmation dialog") { try browser.isShown("#confirm") }
            try browser.click("#confirm-yes")
            try await eventually("the new limit") { try browser.text("#overrides").contains("953") }
            let list = try server.admin.get("/v1/overrides").json["overrides"] as? [[String: Any]] ?? []
            let override = try #require(list.first?["override"] as? [String: Any])
            #expect(override["capacity"] as? Int == 953)
            #expect(380...480 ~= override["expiresInSeconds"] as? Int ?? 0)
            #expect(try browser.complaints() == [])
        }
    }

    @Test("an empty page renders cleanly in both color schemes and widths, and is usable by keyboard")
    func empty() async throws {
        let server = try await CisternProcess()
        try await Browser.run { browser in
            try browser.open(url(server))
            try await eventually("the first seconds") { try points(browser) >= 2 }
            let page = try browser.text("body")
            for word in ["NaN", "undefined", "null", "Infinity"] { #expect(!page.contains(word), "\(word)") }
            #expect(page.contains("embedded store"))
            for (width, height) in [(375, 2600), (1440, 1600)] {
                for isDark in [false, true] {
                    try browser.look(width: width, height: height, isDark: isDark)
                    try expectFits(browser)
                    try keep("empty-\(width)-\(isDark ? "dark" : "light")", browser)
                }
            }
            // From the top of the page, Tab reaches every control.
            try browser.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
            var reached: Set<String> = []
            for _ in 0..<40 {
                try browser.press("\u{E004}")
                let id = try browser.evaluate(
                    "const e = document.activeElement; return e.id || e.closest('[data-chart]')?.dataset.chart || ''")
                reached.insert(id as? String ?? "")
            }
            #expect(reached.isSuperset(of: ["search-organization", "decisions", "latency"]), "\(reached)")
            // Every control needs a label for screen readers.
            let nameless = try browser.evaluate(
                """
                return [...document.querySelectorAll('input, select, button')].filter((e) =>
                  !(e.labels?.length || e.innerText.trim() || e.getAttribute('aria-label') || \
                  e.getAttribute('aria-labelledby')))
                  .map((e) => e.id || e.outerHTML)
                """)
            #expect(nameless as? [String] == [])
            let complaints = try browser.complaints()
            #expect(complaints == [])
        }
    }

    /// How many seconds a load runs before its screenshot; `make screenshot`, for the README's picture, sets more.
    private static let seconds = Double(ProcessInfo.processInfo.environment["CISTERN_SCREENSHOT_SECONDS"] ?? "") ?? 3

    @Test("with thousands of organizations the page shows the busiest, and ignores a hostile name")
    func crowded() async throws {
        let nodes = [try await RedisServer(), try await RedisServer()]
        let server = try await CisternProcess([
            "--redis", nodes.map(\.url).joined(separator: ","), "--store-timeout", "1s", "--capacity", "400",
            "--refill-per-second", "400",
        ])
        try await Browser.run(width: 1440, height: 1600) { browser in
            try browser.open(url(server))
            let loads = [
                Load(port: server.port, connections: 1, organizations: 5000),
                Load(port: server.port, connections: 3, organizations: 20),
                Load(port: server.port, connections: 2, organizations: 1),
            ]
            try await eventually("many organizations") {
                try browser.evaluate(
                    "return document.querySelectorAll('#busiest-allowed [data-organization], #busiest-allowed "
                        + "li').length"
                )
                    as? Double ?? 0 >= 10
            }
            try browser.type("<img src=x onerror=alert(1)>\u{E007}", into: "#search-organization")
            let shown = try browser.attribute("#organization", "data-organization") ?? ""
            #expect(shown == "")
            try await openOrganization("org-17", browser)
            try await eventually("some time to pass", within: Self.seconds + 60) {
                try points(browser) >= Self.seconds
            }
            try keep("crowded", browser)
            try browser.look(width: 1280, height: 1290, isDark: false)
            try browser.evaluate("document.activeElement?.blur(); window.scrollTo(0, 0)")
            try keep("dashboard", browser)
            try browser.look(width: 375, height: 3200, isDark: true)
            try expectFits(browser)
            try keep("crowded-375-dark", browser)
            for load in loads { _ = try await load.stop() }
            let complaints = try browser.complaints()
            #expect(complaints == [])
        }
    }

    @Test("the page asks for a token if one is needed, reports a wrong one, and continues with the right one")
    func token() async throws {
        let folder = try TemporaryDirectory()
        try folder.write("alice:correct-horse-battery\n", to: "t")
        let server = try await CisternProcess(["--admin-token-file", folder.path + "/t"])
        try await Browser.run { browser in
            try browser.open(url(server))
            try await eventually("the token prompt") { try browser.isShown("#token-input") }
            try browser.type("wrong-horse-battery", into: "#token-input")
            try browser.click("#token-apply")
            try await eventually("the error message") { try browser.text("#token-message") != "" }
            try keep("token", browser)
            try browser.type("correct-horse-battery\u{E007}", into: "#token-input")
            try await eventually("the charts") { try points(browser) >= 2 }
            #expect(try !browser.isShown("#token-input"))
        }
    }
}
