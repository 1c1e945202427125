internal import NIOCore

/// A stream of requests that continues until ``finish(countingAll:)``.
protocol Load: Sendable {
    /// The phase of the load; the measurement sets it.
    var phase: LoadPhase { get }

    /// Whether requests are sent on schedule, regardless of earlier requests.
    ///
    /// Requests in flight at the end of an open loop also count. Otherwise, a stall at the end would not be seen.
    var isOpenLoop: Bool { get }

    /// Sends the first requests.
    func start()

    /// Stops sending, waits for all answers, and returns the results that counted.
    ///
    /// - Parameter countingAll: whether answers from now on count, too.
    /// - Throws: the error that ended the load early.
    func finish(countingAll: Bool) async throws -> LoadTally
}

/// One event loop's part of a load, confined to that loop.
protocol LoadPart: AnyObject, SendableMetatype {
    /// Sends the first requests.
    func start()

    /// Returns the results that counted, once every request is answered; called after the last request is sent.
    func whenDone() -> EventLoopFuture<LoadTally>
}

/// The parts of a load, each on its loop.
struct LoadParts<Part: LoadPart>: Sendable {
    private let parts: [NIOLoopBound<Part>]
    private let loops: [any EventLoop]

    /// Makes a part on each loop.
    init(on loops: [any EventLoop], make: @escaping @Sendable (_ number: Int, _ loop: any EventLoop) -> Part)
        async throws
    {
        self.loops = loops
        var parts: [NIOLoopBound<Part>] = []
        for (number, loop) in loops.enumerated() {
            parts.append(try await loop.submit { NIOLoopBound(make(number, loop), eventLoop: loop) }.get())
        }
        self.parts = parts
    }

    /// The loop and the part at an index, which wraps around.
    subscript(number: Int) -> (loop: any EventLoop, part: NIOLoopBound<Part>) {
        (loops[number % loops.count], parts[number % loops.count])
    }

    func start() {
        for (loop, part) in zip(loops, parts) { loop.execute { part.value.start() } }
    }

    /// Waits for all parts, and adds up their results.
    func sum() async throws -> LoadTally {
        var sum = LoadTally()
        for (loop, part) in zip(loops, parts) {
            sum += try await loop.flatSubmit { part.value.whenDone() }.get()
        }
        return sum
    }
}
