internal import NIOCore

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

/// One event loop's part of a load; it lives there.
protocol LoadPart: AnyObject, SendableMetatype {
    /// Sends the first requests.
    func start()

    /// What came of all that counted, once each request is answered; no more are sent.
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

    /// The loop and the part with a number, which goes round.
    subscript(number: Int) -> (loop: any EventLoop, part: NIOLoopBound<Part>) {
        (loops[number % loops.count], parts[number % loops.count])
    }

    func start() {
        for (loop, part) in zip(loops, parts) { loop.execute { part.value.start() } }
    }

    /// Waits for all of them, and adds up what came of them.
    func sum() async throws -> LoadTally {
        var sum = LoadTally()
        for (loop, part) in zip(loops, parts) {
            sum += try await loop.flatSubmit { part.value.whenDone() }.get()
        }
        return sum
    }
}
