package import Foundation

/// A headless Chromium of a test's own, driven through chromedriver as W3C's WebDriver has it.
package final class Browser {
    /// What the driver or the page answers that a test does not want.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private let driver: ChildProcess
    private let profile: TemporaryDirectory
    private let port: Int
    private var session = ""

    /// Starts a browser, lets a test use it, and ends it whatever comes of that.
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
    /// It takes one for IPv4, and ends where the same one is not free for IPv6; so it is started again.
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

    /// Ends the browser, and then its driver.
    private func quit() {
        _ = try? send("DELETE", "")
        driver.signal(SIGTERM)
    }

    /// Sends one command to the driver and returns its value.
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

    /// Goes to a page and waits until it is there.
    package func open(_ url: String) throws {
        try send("POST", "/url", ["url": url])
    }

    /// Runs JavaScript in the page, the body of a function, and returns what that does.
    @discardableResult
    package func evaluate(_ script: String, _ arguments: Any...) throws -> Any? {
        try send("POST", "/execute/sync", ["script": script, "args": arguments])
    }

    /// The text of an element, as it is seen.
    package func text(_ selector: String) throws -> String {
        try evaluate("return document.querySelector(arguments[0])?.innerText ?? ''", selector) as? String ?? ""
    }

    /// An attribute of an element; nil where either is not there.
    package func attribute(_ selector: String, _ name: String) throws -> String? {
        try evaluate("return document.querySelector(arguments[0])?.getAttribute(arguments[1])", selector, name)
            as? String
    }

    /// An attribute as a number.
    package func number(_ selector: String, _ name: String) throws -> Double? {
        try attribute(selector, name).flatMap { Double($0) }
    }

    /// Whether an element is there and can be seen.
    package func isShown(_ selector: String) throws -> Bool {
        try evaluate("return document.querySelector(arguments[0])?.checkVisibility() === true", selector) as? Bool
            == true
    }

    /// Clicks on an element as a mouse does: it must be there, and nothing in front of it.
    package func click(_ selector: String) throws {
        try send("POST", "/element/\(try element(selector))/click", [:])
    }

    /// Types a text into an emptied field; `\u{E007}` is the Enter key.
    package func type(_ text: String, into selector: String) throws {
        let element = try element(selector)
        try send("POST", "/element/\(element)/clear", [:])
        try send("POST", "/element/\(element)/value", ["text": text])
    }

    /// Presses keys, wherever the focus is.
    package func press(_ keys: String) throws {
        let actions = keys.flatMap { [["type": "keyDown", "value": "\($0)"], ["type": "keyUp", "value": "\($0)"]] }
        try send("POST", "/actions", ["actions": [["type": "key", "id": "keyboard", "actions": actions]]])
    }

    private func element(_ selector: String) throws -> String {
        let found = try send("POST", "/element", ["using": "css selector", "value": selector]) as? [String: String]
        return found?.values.first ?? ""
    }

    // MARK: Looks

    /// Gives the page another size, and another scheme of colors.
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

    /// The page as it looks, as a PNG.
    package func screenshot() throws -> Data {
        let text = try send("GET", "/screenshot") as? String ?? ""
        guard let image = Data(base64Encoded: text) else {
            throw Failure(description: "no screenshot: \(text.prefix(80))")
        }
        return image
    }

    /// What the page has complained about since the last call: errors, and what its security policy has forbidden.
    package func complaints() throws -> [String] {
        let entries = try send("POST", "/se/log", ["type": "browser"]) as? [[String: Any]] ?? []
        return entries.filter { $0["level"] as? String == "SEVERE" }.map { "\($0["message"] ?? "")" }
    }
}
