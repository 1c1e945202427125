import NIOCore
import Testing

@testable import CisternHTTP

@Suite("The state machine of an HTTP connection")
struct HTTPConnectionStateMachineTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func makeMachine() -> HTTPConnectionStateMachine {
        HTTPConnectionStateMachine(
            timeouts: HTTPConnectionStateMachine.Timeouts(request: .seconds(2), idle: .seconds(5)), now: start)
    }

    private func expire(
        _ machine: inout HTTPConnectionStateMachine, now: NIODeadline, hasBufferedInput: Bool = false,
        hasUnreadInput: Bool = false
    ) -> HTTPConnectionStateMachine.ExpiryAction {
        machine.expire(now: now, hasBufferedInput: hasBufferedInput) { hasUnreadInput }
    }

    @Test("every state has a deadline, and an action at its deadline")
    func everyStateExpires() {
        var machine = makeMachine()
        #expect(machine.expiresAt == start + .seconds(5))
        let early = expire(&machine, now: start + .seconds(4))
        #expect(early == .none)
        let idle = expire(&machine, now: start + .seconds(5))
        #expect(idle == .linger)

        machine.requestBegan(now: start)
        #expect(machine.state == .receiving && machine.expiresAt == start + .seconds(2))
        let receiving = expire(&machine, now: start + .seconds(2))
        #expect(receiving == .refuseSlowRequest)

        machine.decisionPending(now: start)
        #expect(machine.expiresAt == start + .seconds(60))
        let deciding = expire(&machine, now: start + .seconds(60))
        #expect(deciding == .close)

        let action = machine.linger(now: start)
        #expect(action == .flushLastResponse && machine.expiresAt == start + .seconds(5))
        let lingering = expire(&machine, now: start + .seconds(5))
        #expect(lingering == .close)

        let flushed = machine.flushed(now: start)
        #expect(flushed == .closeOutput && machine.expiresAt == start + .seconds(1))
        let after = expire(&machine, now: start + .seconds(1))
        #expect(after == .close)
    }

    @Test("an idle connection waits for a request in its socket, and is closed if the client reads nothing")
    func idleExpiry() {
        var machine = makeMachine()
        let now = start + .seconds(5)
        let unread = expire(&machine, now: now, hasUnreadInput: true)
        #expect(unread == .none && machine.expiresAt == now + .milliseconds(1))
        let buffered = expire(&machine, now: now + .seconds(1), hasBufferedInput: true)
        #expect(buffered == .close)
        _ = machine.writabilityChanged(to: false, now: now, hasBufferedInput: false)
        let unwritable = expire(&machine, now: now + .seconds(1))
        #expect(unwritable == .close)
    }

    @Test("the last response is flushed once, and the connection is closed in two steps")
    func closesInTwoSteps() {
        var machine = makeMachine()
        var actions = [machine.linger(now: start)]
        actions.append(machine.linger(now: start))
        #expect(actions == [.flushLastResponse, .none])
        #expect(!machine.acceptsRequests)
        let flushed = machine.flushed(now: start)
        let again = machine.linger(now: start)
        #expect(flushed == .closeOutput && again == .close)
    }

    @Test("a half-closed connection closes once its requests have been processed, and not before")
    func halfClosed() {
        var machine = makeMachine()
        machine.requestArrived(now: start)
        machine.decisionPending(now: start)
        machine.inputClosed()
        #expect(!machine.mustCloseHalfClosed(hasBufferedInput: true), "a request waits for its decision")
        let isPending = machine.decided(hasBufferedInput: true)
        #expect(isPending && machine.keepsAlive(true, isDraining: false), "another request is buffered")
        machine.becameIdle()
        _ = machine.writabilityChanged(to: false, now: start, hasBufferedInput: true)
        #expect(!machine.mustCloseHalfClosed(hasBufferedInput: true), "the client must read first")
        #expect(machine.mustCloseHalfClosed(hasBufferedInput: false))
        machine.decisionPending(now: start)
        _ = machine.decided(hasBufferedInput: false)
        #expect(!machine.keepsAlive(true, isDraining: false), "nothing can follow")
        let flushed = machine.flushed(now: start)
        #expect(flushed == .close)
    }

    @Test("a decision without a waiting request is ignored")
    func lateDecision() {
        var machine = makeMachine()
        let isPending = machine.decided(hasBufferedInput: false)
        #expect(!isPending && machine.state == .idle)
    }

    @Test("reading pauses while the client does not read, or has sent more behind a request that waits")
    func pausesReading() {
        var machine = makeMachine()
        var reads = [machine.read(hasBufferedInput: true)]
        machine.decisionPending(now: start)
        reads.append(machine.read(hasBufferedInput: false))
        reads.append(machine.read(hasBufferedInput: true))
        #expect(reads == [true, true, false])
        var pending = [machine.takePendingRead()]
        pending.append(machine.takePendingRead())
        #expect(pending == [true, false], "a pending read is asked for once")
        _ = machine.writabilityChanged(to: false, now: start, hasBufferedInput: false)
        let whileUnwritable = machine.read(hasBufferedInput: false)
        #expect(!whileUnwritable && !machine.mayParseMore)
    }

    @Test("buffered requests are parsed when the client reads again, but not from within parsing")
    func resumesParsing() {
        var machine = makeMachine()
        _ = machine.writabilityChanged(to: false, now: start, hasBufferedInput: true)
        machine.beginParsing()
        let nested = machine.writabilityChanged(to: true, now: start, hasBufferedInput: true)
        machine.endParsing()
        let outside = machine.writabilityChanged(to: true, now: start, hasBufferedInput: true)
        #expect(!nested.processesBuffered && outside.processesBuffered)
    }

    @Test("draining ends every response's connection, and gives an idle client a quarter of a second")
    func drains() {
        var machine = makeMachine()
        let reschedules = machine.drain(now: start, hasBufferedInput: false)
        #expect(reschedules && machine.expiresAt == start + .milliseconds(250))
        #expect(!machine.keepsAlive(true, isDraining: false))
        var busy = makeMachine()
        busy.requestBegan(now: start)
        let isRescheduled = busy.drain(now: start, hasBufferedInput: false)
        #expect(!isRescheduled && busy.expiresAt == start + .seconds(2), "a request keeps its time")
        var old = makeMachine()
        old.reachedMaximumAge()
        #expect(!old.keepsAlive(true, isDraining: false))
        #expect(makeMachine().keepsAlive(true, isDraining: false) && !makeMachine().keepsAlive(true, isDraining: true))
    }

    @Test("a request's duration counts from its arrival, or from the end of its head")
    func duration() {
        var machine = makeMachine()
        machine.requestBegan(now: start)
        machine.headContinued(now: start + .milliseconds(3))
        machine.requestArrived(now: start + .milliseconds(10))
        let nanoseconds = machine.responded(now: start + .milliseconds(12))
        #expect(nanoseconds == 9_000_000)
    }
}
