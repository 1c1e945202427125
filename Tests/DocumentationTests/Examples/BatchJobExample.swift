// The examples of the article BatchJob.
import Cistern
import CisternRedis

/// A bucket can never hold the tokens that a request costs.
struct CostAboveCapacity: Error {
    let cost: Int
    let capacity: Int
}

/// Returns once the limiter has allowed a request.
func waitForTurn(_ key: String, cost: Int = 1, by limiter: RateLimiter) async throws {
    while true {
        let decision = try await limiter.acquire(key, cost: cost)
        if decision.isAllowed { return }
        guard let wait = decision.retryAfter else {
            throw CostAboveCapacity(cost: cost, capacity: decision.limit.capacity)
        }
        try await Task.sleep(for: wait)
    }
}

/// Sends a message to each address, at the rate that the mail provider accepts from all jobs together.
func sendNewsletter(
    to addresses: [String], redis url: String, send: @Sendable (String) async throws -> Void
) async throws {
    var settings = LimiterSettings()
    settings.failurePolicy = .closed
    let limiter = try RateLimiter(
        limit: .perSecond(14, capacity: 14), store: .redis(url), namespace: "mail", settings: settings)
    try await limiter.withRunning {
        for address in addresses {
            try await waitForTurn("provider", by: limiter)
            try await send(address)
        }
    }
}

/// Sends a message to each address, with several requests to the provider at a time.
func sendInParallel(
    to addresses: [String], workers: Int, by limiter: RateLimiter,
    send: @escaping @Sendable (String) async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<workers {
            group.addTask {
                for index in stride(from: worker, to: addresses.count, by: workers) {
                    try await waitForTurn("provider", by: limiter)
                    try await send(addresses[index])
                }
            }
        }
        try await group.waitForAll()
    }
}
