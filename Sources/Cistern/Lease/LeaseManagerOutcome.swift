/// What comes of what a lessee is told: who is decided, and what has to be sent.
extension LeaseManager {
    /// What became of a request that memory alone could not decide.
    enum Admission {
        /// It is decided after all.
        case decided(Decision)
        /// It waits for a request already in flight.
        case waiting
        /// It waits for this request, which must be sent.
        case send(LeaseRequest)
    }

    /// What to do once an answer has been taken in, after the lock has been let go.
    struct Settlement {
        /// Requests that waited, and how they came out.
        var decided: [(resume: Resume, decision: Decision)] = []
        /// The next request to send, for those that came too late for this one.
        var next: LeaseRequest?
    }
}
