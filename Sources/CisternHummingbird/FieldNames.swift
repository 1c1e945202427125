internal import HTTPTypes

extension HTTPField.Name {
    static let rateLimitLimit = valid("X-RateLimit-Limit")
    static let rateLimitRemaining = valid("X-RateLimit-Remaining")
    static let rateLimitReset = valid("X-RateLimit-Reset")
    static let xForwardedFor = valid("X-Forwarded-For")

    private static func valid(_ name: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no field name") }
        return name
    }
}
