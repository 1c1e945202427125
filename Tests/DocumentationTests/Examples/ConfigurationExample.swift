// An example of the article UseTheLibrary.
import Cistern
import CisternRedis
import Configuration

func makeLimiterFromEnvironment() throws -> RateLimiter {
    let config = ConfigReader(provider: EnvironmentVariablesProvider()).scoped(to: "rateLimit")
    return try RateLimiter(config: config, store: SharedStore.redis(config))
}
