import CisternProcesses
package import Foundation

/// A headless Chromium for one test, controlled through chromedriver with the W3C WebDriver protocol.
package final class Browser {
    /// An error that the driver reports, or an unexpected reply of the driver or the page.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private let driver: ChildProcess
    private let profile: TemporaryDirectory
    private let port: Int
    private var session = ""

    /// Starts a browser, runs `body`, and quits the browser even if `body` throws.
    package static func run(
        width: Int = 1440, height: Int = 1100, _ body: (Browser) async throws -> Void
    ) async throws {
        let browser = try await Browser(width: width, height: height)
        do {
            try await body(browser)
        } catch {
            browser.quit()
            throw error
        }
        browser.quit()
    }

    private init(width: Int, height: Int) async throws {
        profile = try TemporaryDirectory()
        (driver, port) = try await Self.startDriver()
        let arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--force-device-scale-factor=1", "--no-first-run", "--disable-background-networking",
            "--window-size=\(width),\(height)", "--user-data-dir=\(profile.path)",
        ]
        let options: [String: Any] = [
            "browserName": "chrome", "goog:chromeOptions": ["args": arguments],
            "goog:loggingPrefs": ["browser": "ALL"],
        ]
        let answer = try send("POST", "/session", ["capabilities": ["alwaysMatch": options]])
        session = (answer as? [String: Any])?["sessionId"] as? String ?? ""
    }

    /// Starts a driver on a free port.
    ///
    /// The driver picks a free IPv4 port and exits if the same IPv6 port is in use, so the start is retried.
    private static func startDriver() async throws -> (driver: ChildProcess, port: Int) {
        var ended: [String] = []
        for _ in 0..<5 {
            let driver = try ChildProcess("chromedriver", ["--port=0"])
            var port: Int?
            try await eventually("chromedriver to start; it wrote: \(driver.text)") {
                port = driver.text.firstMatch(of: /started successfully on port (\d+)/).flatMap { Int($0.1) }
                return port != nil || !driver.isRunning
            }
            if let port { return (driver, port) }
            ended.append(driver.text)
        }
        throw Failure(description: "chromedriver does not start: \(ended)")
    }

    /// Quits the browser, then the driver.
    private func quit() {
        _ = try? send("DELETE", "")
        driver.signal(SIGTERM)
    }

    /// Sends one command to the driver and returns the reply's value.
    @discardableResult
    private func send(_ method: String, _ path: String, _ body: [String: Any]? = nil) throws -> Any? {
        let prefix = session.isEmpty ? "" : "/session/\(session)"
        let content = try body.map { try JSONSerialization.data(withJSONObject: $0) } ?? Data()
        let head =
            "\(method) \(prefix)\(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(content.count)\r\n\r\n"
        let reply = try Socket(port: port).exchange(head + String(decoding: content, as: UTF8.self))
        let value = reply.json["value"]
        guard reply.status == 200 else {
            let message = (value as? [String: Any])?["message"] as? String ?? "\(reply)"
            throw Failure(description: "\(method) \(path): \(message)")
        }
        return value
    }

    // MARK: Pages

    /// Opens a page and waits until it has loaded.
    package func open(_ url: String) throws {
        try send("POST", "/url", ["url": url])
    }

    /// Runs the body of a JavaScript function in the page and returns its result.
    @discardableResult
    package func evaluate(_ script: String, _ arguments: Any...) throws -> Any? {
        try send("POST", "/execute/sync", ["script": script, "args": arguments])
    }

    /// The rendered text of an element.
    package func text(_ selector: String) throws -> String {
        try evaluate("return document.querySelector(arguments[0])?.innerText ?? ''", selector) as? String ?? ""
    }

    /// An attribute of an element; nil if the element or the attribute is missing.
    package func attribute(_ selector: String, _ name: String) throws -> String? {
        try evaluate("return document.querySelector(arguments[0])?.getAttribute(arguments[1])", selector, name)
            as? String
    }

    /// An attribute as a number.
    package func number(_ selector: String, _ name: String) throws -> Double? {
        try attribute(selector, name).flatMap { Double($0) }
    }

    /// Whether an element exists and is visible.
    package func isShown(_ selector: String) throws -> Bool {
        try evaluate("return document.querySelector(arguments[0])?.checkVisibility() === true", selector) as? Bool
            == true
    }

    /// Clicks an element like a mouse: it must exist, and no other element may cover it.
    package func click(_ selector: String) throws {
        try send("POST", "/element/\(try element(selector))/click", [:])
    }

    /// Clears a field and types a text into it; `\u{E007}` is the Enter key.
    package func type(_ text: String, into selector: String) throws {
        let element = try element(selector)
        try send("POST", "/element/\(element)/clear", [:])
        try send("POST", "/element/\(element)/value", ["text": text])
    }

    /// Presses keys in the element that has the focus.
    package func press(_ keys: String) throws {
        let actions = keys.flatMap { [["type": "keyDown", "value": "\($0)"], ["type": "keyUp", "value": "\($0)"]] }
        try send("POST", "/actions", ["actions": [["type": "key", "id": "keyboard", "actions": actions]]])
    }

    private func element(_ selector: String) throws -> String {
        let found = try send("POST", "/element", ["using": "css selector", "value": selector]) as? [String: String]
        return found?.values.first ?? ""
    }

    // MARK: Appearance

    /// Sets the size and the color scheme of the page.
    package func look(width: Int, height: Int, isDark: Bool) throws {
        try developer(
            "Emulation.setDeviceMetricsOverride",
            ["width": width, "height": height, "deviceScaleFactor": 1, "mobile": false])
        try developer(
            "Emulation.setEmulatedMedia",
            ["features": [["name": "prefers-color-scheme", "value": isDark ? "dark" : "light"]]])
    }

    private func developer(_ command: String, _ parameters: [String: Any]) throws {
        try send("POST", "/goog/cdp/execute", ["cmd": command, "params": parameters])
    }

    /// A screenshot of the page, as a PNG.
    package func screenshot() throws -> Data {
        let text = try send("GET", "/screenshot") as? String ?? ""
        guard let image = Data(base64Encoded: text) else {
            throw Failure(description: "no screenshot: \(text.prefix(80))")
        }
        return image
    }

    /// Errors and violations of the content security policy that the page has logged since the last call.
    package func complaints() throws -> [String] {
        let entries = try send("POST", "/se/log", ["type": "browser"]) as? [[String: Any]] ?? []
        return entries.filter { $0["level"] as? String == "SEVERE" }.map { "\($0["message"] ?? "")" }
    }
}
