/// Requests that go on until they are told to end.
protocol Load: Sendable {
    /// Where it stands; whoever measures turns it on.
    var phase: LoadPhase { get }

    /// Whether requests are sent at their time, whatever becomes of those before; those that are under way at the end
    /// count then, or a stall at the end would not be seen.
    var isOpenLoop: Bool { get }

    /// Sends the first requests.
    func start()

    /// Sends no more, and returns what came of all that counted, once each is answered.
    ///
    /// - Parameter countingAll: whether what is answered from now on counts, too.
    /// - Throws: where something broke on the way.
    func finish(countingAll: Bool) async throws -> LoadTally
}
