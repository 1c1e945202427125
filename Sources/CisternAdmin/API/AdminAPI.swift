internal import Cistern
internal import CisternSupport
internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import Logging

/// The handlers of the API's routes.
struct AdminAPI: Sendable {
    let operations: any Operations
    let monitor: Monitor
    let logger: Logger

    func respond(to route: AdminRoute, _ request: Request, _ context: AdminContext) async throws -> Response {
        switch route {
        case .status: return try JSONText.response(monitor.status)
        case .nodes: return try JSONText.response(Document.Nodes(nodes: monitor.status.nodes))
        case .organizations: return try topOrganizations(request)
        case .overrides: return try overrides(request)
        case .journal: return try JSONText.response(Document.Journal(operations.journal()))
        case .organization:
            let name = try Self.organization(in: context)
            return try JSONText.response(Document.Organization(name, await operations.organization(name)))
        case .fillBucket: return try await fillBucket(context)
        case .setLimit: return try await setLimit(request, context)
        case .removeLimit: return try await removeLimit(context)
        case .lease: return try JSONText.response(Document.LeaseResponse(try leaseSettings()))
        case .changeLease: return try await changeLease(request, context)
        case .metrics: return Self.text(monitor.metrics, type: MetricsPage.contentType)
        case .health:
            let snapshot = context.user == "nobody" ? monitor.snapshot.publicView : monitor.snapshot
            return Self.text(
                HealthPage.text(snapshot), type: HealthPage.contentType,
                status: snapshot.isDraining ? .serviceUnavailable : .ok)
        case .events: return try monitor.events()
        case .description: return PageFile.description.response
        }
    }

    private static func text(_ text: String, type: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    /// The organization in the path of a request.
    private static func organization(in context: AdminContext) throws(Problem) -> String {
        let text = context.parameters.get("organization") ?? ""
        guard let name = text.removingPercentEncoding, OrganizationName.isValid(name) else {
            let shown = text.utf8.count > 128 ? "\(text.utf8.count) bytes long" : "'\(text)'"
            throw Problem(
                .badRequest, "organization is \(shown): use 1 to 128 characters of A-Z a-z 0-9 . _ : @ -")
        }
        return name
    }

    // MARK: Organizations

    private func topOrganizations(_ request: Request) throws -> Response {
        let sort = request.uri.queryParameters.get("sort") ?? DecisionKind.allowed.rawValue
        guard let order = DecisionKind(rawValue: sort) else {
            let words = DecisionKind.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.badRequest, "sort is '\(sort.prefix(64))': use one of \(words)")
        }
        let limit = try Self.limit(request, standard: 20, most: 100)
        let entries = operations.topOrganizations(limit, by: order).map { Document.Busy($0) }
        return try JSONText.response(Document.Busiest(sort: sort, organizations: entries))
    }

    /// The query parameter `limit`: how many entries of a list to return.
    private static func limit(_ request: Request, standard: Int, most: Int) throws(Problem) -> Int {
        let text = request.uri.queryParameters.get("limit") ?? "\(standard)"
        guard let limit = Int(text), 1...most ~= limit else {
            throw Problem(.badRequest, "limit is '\(text.prefix(64))': use a whole number from 1 to \(most)")
        }
        return limit
    }

    private func overrides(_ request: Request) throws -> Response {
        let limit = try Self.limit(request, standard: 100, most: 1000)
        let after = request.uri.queryParameters.get("after") ?? ""
        let all = operations.overridesInForce()
        let items = all.filter { $0.key > after }.sorted { $0.key < $1.key }.prefix(limit)
            .compactMap { name, entry in
                Document.Override(entry).map { Document.Overrides.Item(organization: name, override: $0) }
            }
        return try JSONText.response(Document.Overrides(total: all.count, overrides: items))
    }

    private func fillBucket(_ context: AdminContext) async throws -> Response {
        let name = try Self.organization(in: context)
        let before = await operations.organization(name)
        try await operations.fillBucket(of: name)
        let after = await operations.organization(name)
        log("a bucket was filled", context, of: name, before: before.balance, after: after.balance)
        return Response(status: .noContent)
    }

    private func setLimit(_ request: Request, _ context: AdminContext) async throws -> Response {
        let name = try Self.organization(in: context)
        let fields = try await FieldReader(
            request, names: ["capacity", "refill", "refillPerSecond", "shadow", "expiresInSeconds"])
        let capacity = try fields.integer("capacity", in: 0...Limit.maximumCapacity)
        let remedy = "use whole tokens per period, such as \"10/s\", \"600/m\", \"5/h\" or \"3/250ms\""
        let refill = try fields.text("refill", remedy: remedy)
        let perSecond = try fields.number("refillPerSecond", remedy: "use a number of tokens a second")
        guard let capacity else { throw Problem(.badRequest, "capacity is missing: use a whole number of tokens") }
        guard refill != nil || perSecond != nil else { throw Problem(.badRequest, "refill is missing: \(remedy)") }
        let life = try fields.integer("expiresInSeconds", in: 1...315_360_000)
        let isShadow = try fields.boolean("shadow") ?? false
        let limit: Limit
        do {
            limit = try Limit(
                capacity: "\(capacity)", refill: refill, refillPerSecond: perSecond.map { "\($0)" }, isShadow: isShadow,
                standard: .standard)
        } catch {
            throw Problem(.badRequest, error.description)
        }
        let before = operations.limit(of: name)
        let entry = try await operations.overrideLimit(
            of: name, with: limit, lifeSeconds: life.map { Int64($0) }, by: context.user)
        log("a limit was overridden", context, of: name, before: before.shown, after: limit.shown)
        guard let override = Document.Override(entry) else {
            preconditionFailure("an override that was set has a limit")
        }
        return try JSONText.response(Document.OverrideResponse(organization: name, override: override))
    }

    private func removeLimit(_ context: AdminContext) async throws -> Response {
        let name = try Self.organization(in: context)
        let before = await operations.organization(name)
        guard before.override != nil else {
            throw Problem(.notFound, "\(name) has no override: its limitSource is \(before.limitSource)")
        }
        _ = try await operations.overrideLimit(of: name, with: nil, lifeSeconds: nil, by: context.user)
        log(
            "an override was removed", context, of: name, before: before.limit.shown,
            after: operations.limit(of: name).shown)
        return Response(status: .noContent)
    }

    // MARK: Leases

    private func leaseSettings() throws(Problem) -> LeaseSettings {
        guard let settings = operations.snapshot().lease else {
            throw Problem(.conflict, "the embedded store leases nothing: use --redis for lease settings")
        }
        return settings
    }

    private func changeLease(_ request: Request, _ context: AdminContext) async throws -> Response {
        let names = ["horizonMilliseconds", "durationMilliseconds", "prefetchMilliseconds"]
        let fields = try await FieldReader(request, names: names)
        let before = try leaseSettings()
        guard !fields.isEmpty else {
            throw Problem(.badRequest, "the body has no setting: use \(names.joined(separator: ", "))")
        }
        var after = before
        let settings: [LeaseSettings.Field] = [.leaseHorizon, .leaseDuration, .leasePrefetch]
        for (name, setting) in zip(names, settings) {
            if let time = try fields.milliseconds(name, in: setting.range) { after[setting] = time }
        }
        if let conflict = after.conflict {
            let name = { field in settings.firstIndex(of: field).map { names[$0] } ?? field.rawValue }
            throw Problem(
                .badRequest,
                "\(name(conflict.field)) is \(after[conflict.field]): use at most half of "
                    + "\(name(conflict.bound)), which is \(after[conflict.bound])")
        }
        operations.changeLease(to: after)
        log("lease settings were changed", context, of: nil, before: before.shown, after: after.shown)
        return try JSONText.response(Document.LeaseResponse(after))
    }

    /// Logs a change: its user, its organization, and the values before and after.
    private func log(
        _ what: Logger.Message, _ context: AdminContext, of organization: String?, before: String, after: String
    ) {
        var metadata: Logger.Metadata = ["by": "\(context.user)", "before": "\(before)", "after": "\(after)"]
        metadata["organization"] = organization.map { "\($0)" }
        logger.notice(what, metadata: metadata)
    }
}

extension OrganizationView {
    /// The balance of the bucket, for the log.
    fileprivate var balance: String {
        (try? bucket.get().balance).map { "\($0) tokens" } ?? "unknown"
    }
}

extension Limit {
    /// The limit as text, for the log.
    fileprivate var shown: String {
        "\(capacity) tokens, \(refill)" + (isShadow ? ", in shadow mode" : "")
    }
}

extension LeaseSettings {
    fileprivate var shown: String {
        "horizon \(horizonMilliseconds) ms, duration \(durationMilliseconds) ms, prefetch \(prefetchMilliseconds) ms"
    }
}
