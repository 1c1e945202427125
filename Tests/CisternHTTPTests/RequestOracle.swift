import CisternSupport
import NIOCore
import NIOEmbedded
import NIOHTTP1

@testable import CisternHTTP

/// Parses the same bytes with the server's reader and with llhttp, and reports where the two disagree.
///
/// llhttp is strict, and the reader is stricter, so a rejection by the reader alone is no disagreement. llhttp must
/// accept every request that the reader accepts, and parse it alike. While the reader waits for more bytes, llhttp must
/// not have seen a whole request.
enum RequestOracle {
    /// The parts of a request that the server uses.
    struct Reading: Equatable, CustomStringConvertible {
        var method: Request.Method
        var path: String
        var organizations: [String]
        var users: [String]
        var bodyFormat: Request.BodyFormat
        var isVersion10: Bool
        var body: [UInt8]

        var description: String {
            "\(method) \(path) org \(organizations) user \(users) \(bodyFormat) 1.\(isVersion10 ? 0 : 1) "
                + String(decoding: body, as: UTF8.self).debugDescription
        }
    }

    /// The result of reading some bytes.
    struct Outcome: Equatable {
        var readings: [Reading] = []
        /// The status of the request error that ended the reading; nil if there was none.
        var refusal: Int?
        /// Whether the last response closes the connection.
        var isClosed = false
    }

    static let maximumHeaderBytes = 2048
    static let maximumBodyBytes = 4096

    /// Describes the first difference between the two; nil if they agree.
    static func difference(on bytes: [UInt8]) -> String? {
        let whole = read([bytes])
        // The result must not depend on how the bytes are split. The bytes themselves seed the splits.
        let sum = bytes.reduce(into: UInt64(bytes.count)) { $0 = $0 &* 31 &+ UInt64($1) }
        var random = SeededRandom(seed: sum)
        for most in [1, 7, 64] {
            let cut = read(pieces(of: bytes, most: most, using: &random))
            if cut != whole { return "in pieces of up to \(most) bytes: \(cut), at once: \(whole)" }
        }
        let theirs = readWithLLHTTP(withKnownVersions(bytes))
        // NIO's decoder stops at an Upgrade header, which the reader ignores.
        if theirs.offersUpgrade { return nil }
        for (index, reading) in whole.readings.enumerated() {
            guard index < theirs.readings.count else {
                return "llhttp does not accept request \(index), \(reading): \(theirs.error ?? "it waits")"
            }
            // For a repeated x-org-id header, the reader keeps only that it is repeated.
            guard reading == theirs.readings[index] else { return "\(reading); llhttp: \(theirs.readings[index])" }
        }
        if whole.refusal == nil, !whole.isClosed, theirs.readings.count > whole.readings.count {
            return "llhttp has a whole request, \(theirs.readings[whole.readings.count]), and the reader waits"
        }
        return nil
    }

    /// Replaces later minor versions by 1: the reader treats them as HTTP/1.1 (RFC 9110, 2.5), llhttp rejects them.
    private static func withKnownVersions(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        let (start, end) = (Array(" HTTP/1.".utf8), Array("\r\n".utf8))
        for index in bytes.indices.dropLast(10) where bytes[index...].starts(with: start) {
            guard bytes[(index + 9)...].starts(with: end), UInt8(ascii: "2")...UInt8(ascii: "9") ~= bytes[index + 8]
            else { continue }
            bytes[index + 8] = UInt8(ascii: "1")
        }
        return bytes
    }

    private static func pieces(
        of bytes: [UInt8], most: Int, using random: inout SeededRandom
    ) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...most, using: &random))
            pieces.append(Array(piece))
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }

    static func read(_ pieces: [[UInt8]]) -> Outcome {
        var reader = RequestParser(maximumHeaderBytes: maximumHeaderBytes, maximumBodyBytes: maximumBodyBytes)
        var buffer = ByteBuffer()
        var outcome = Outcome()
        for piece in pieces {
            buffer.writeBytes(piece)
            reading: while !outcome.isClosed {
                switch reader.next(in: &buffer) {
                case .incomplete: break reading
                case .head, .sendContinue: continue
                case .request(let request, let framing):
                    outcome.readings.append(Reading(request, isVersion10: framing.isVersion10))
                    outcome.isClosed = !framing.keepsAlive
                case .refusal(let refusal, _):
                    outcome.refusal = refusal.status.rawValue
                    outcome.isClosed = true
                }
            }
        }
        return outcome
    }

    private static func readWithLLHTTP(
        _ bytes: [UInt8]
    ) -> (readings: [Reading], error: String?, offersUpgrade: Bool) {
        let collector = Collector()
        let channel = EmbeddedChannel()
        defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
        do {
            let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)
            try channel.pipeline.syncOperations.addHandler(ByteToMessageHandler(decoder))
            try channel.pipeline.syncOperations.addHandler(collector)
            try channel.writeInbound(ByteBuffer(bytes: bytes))
        } catch {
            return (collector.readings, "\(error)", collector.offersUpgrade)
        }
        return (collector.readings, collector.error, collector.offersUpgrade)
    }

    /// Assembles requests from the parts that the decoder emits.
    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart

        var readings: [Reading] = []
        var error: String?
        var offersUpgrade = false
        private var current: Reading?

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                current = Reading(head)
                offersUpgrade = offersUpgrade || head.headers.contains(name: "upgrade")
            case .body(let body): current?.body += body.readableBytesView
            case .end:
                if let current { readings.append(current) }
                current = nil
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.error = self.error ?? "\(error)"
        }
    }
}

extension RequestOracle.Reading {
    fileprivate init(_ request: Request, isVersion10: Bool) {
        let text = { (range: Range<Int>) in request.bytes.readableBytesUInt8Span.extracting(range).text }
        let values = { (header: Request.SingleHeader) -> [String] in
            switch header {
            case .missing: []
            case .value(let range): [text(range)]
            case .repeated: ["several"]
            }
        }
        self.init(
            method: request.method, path: text(request.path), organizations: values(request.organization),
            users: values(request.user), bodyFormat: request.bodyFormat, isVersion10: isVersion10,
            body: Array(request.bytes.readableBytesView.dropFirst(request.body.lowerBound).prefix(request.body.count)))
    }

    fileprivate init(_ head: HTTPRequestHead) {
        let values = { (name: String) -> [String] in
            // The decoder does not strip the whitespace after a value.
            let found = head.headers[name].map { value in
                String(value.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
            }
            return found.count > 1 ? ["several"] : found
        }
        let method: Request.Method =
            switch head.method {
            case .GET: .get
            case .HEAD: .head
            case .POST: .post
            case .OPTIONS: .options
            default: .other
            }
        var format = Request.BodyFormat.opaque
        if let type = head.headers["content-type"].last { format = Body.format(ofContentType: type.utf8.span) }
        self.init(
            method: method, path: Self.path(of: head.uri), organizations: values("x-org-id"),
            users: values("x-user-id"), bodyFormat: format, isVersion10: head.version == .http1_0, body: [])
    }

    /// The path of a target, determined independently of the reader.
    private static func path(of target: String) -> String {
        var rest = target[...]
        if let scheme = rest.firstRange(of: "://"), !rest.hasPrefix("/") {
            rest = rest[scheme.upperBound...].drop { $0 != "/" && $0 != "?" }
        }
        return String(rest.prefix { $0 != "?" && $0 != "#" })
    }
}
