// The examples of the article WhatFailureMeans.
import Cistern

/// A report costs too much to produce it unmetered, whatever the failure policy is.
func admitsReport(for customer: String, by limiter: RateLimiter) async throws(AcquireError) -> Bool {
    try await limiter.acquire(customer).outcome == .allowed
}

/// One line for each node that is not in use, for a health page.
func describeOutages(of limiter: RateLimiter) -> [String] {
    limiter.nodeStates.filter { !$0.isReachable }.map { "\($0.name): \($0.failure ?? "not tried yet")" }
}
