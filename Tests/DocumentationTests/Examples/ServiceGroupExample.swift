// An example of the article UseTheLibrary.
import Cistern
import Logging
import ServiceLifecycle
import UnixSignals

func runGroup(_ server: any Service, with limiter: RateLimiter, logger: Logger) async throws {
    let group = ServiceGroup(
        services: [limiter, server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    try await group.run()
}
