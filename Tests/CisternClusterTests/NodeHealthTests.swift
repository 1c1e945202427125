import CisternTesting
import Testing

@testable import Cistern
@testable import CisternCluster

@Suite("The health of a node")
struct NodeHealthTests {
    @Test("the pause between probes doubles up to its bound, and starts over after the node has served")
    func backsOff() {
        let health = Subject(NodeHealth())
        var pauses: [Int64] = []
        for _ in 0..<8 {
            #expect(health { $0.probe() })
            pauses.append(health { $0.fail("refused", jitter: 1) }?.retryAfterMilliseconds ?? -1)
        }
        #expect(pauses == [50, 100, 200, 400, 800, 1000, 1000, 1000])
        #expect(health { $0.probe() })
        #expect(health { $0.succeed() } == true)
        #expect(!health { $0.serve() })
        #expect(health { $0.fail("closed", jitter: 1) }?.retryAfterMilliseconds == 50)
    }

    @Test("jitter sets each pause between 50 % and 100 % of its nominal length")
    func jitters() {
        for (jitter, pause) in [(0.0, Int64(25)), (0.5, 37), (1, 50)] {
            let health = Subject(NodeHealth())
            #expect(health { $0.probe() })
            #expect(health { $0.fail("refused", jitter: jitter) }?.retryAfterMilliseconds == pause)
        }
    }

    @Test("only one probe is in flight at a time")
    func probesAlone() {
        let health = Subject(NodeHealth())
        #expect(health { $0.probe() })
        #expect(!health { $0.probe() })
        #expect(health { $0.succeed() } == true)
        #expect(!health { $0.probe() })
        #expect(health { $0.state } == .up)
    }

    @Test("a failure is reported once, and again only for a different reason")
    func tellsOnce() {
        let health = Subject(NodeHealth())
        var news: [Bool] = []
        func fail(_ reason: String) { news.append(health { $0.fail(reason, jitter: 0) }?.shouldReport ?? false) }
        _ = health { $0.probe() }; fail("refused")
        _ = health { $0.probe() }; fail("refused")
        _ = health { $0.probe() }; _ = health { $0.succeed() }; _ = health { $0.serve() }; fail("closed")
        _ = health { $0.probe() }; fail("refused")
        _ = health { $0.probe() }; fail("refused")
        _ = health { $0.probe() }; fail("WRONGPASS")
        #expect(news == [true, false, true, true, false, true])
        #expect(health { $0.reason } == "WRONGPASS")
    }

    @Test("a node that comes up but serves nothing backs off like one whose probes fail")
    func flapping() {
        let health = Subject(NodeHealth())
        var pauses: [Int64] = []
        var news: [Bool] = []
        for _ in 0..<6 {
            #expect(health { $0.probe() })
            news.append(health { $0.succeed() } == true)
            let action = health { $0.fail("NOPERM", jitter: 1) }
            pauses.append(action?.retryAfterMilliseconds ?? -1)
            news.append(action?.shouldReport == true)
        }
        #expect(pauses == [50, 100, 200, 400, 800, 1000])
        // Recovery and failure are each reported once. Nothing more is reported until the node serves.
        #expect(news == [true, true] + Array(repeating: false, count: 10))
        #expect(health { $0.probe() })
        #expect(health { $0.succeed() } == false)
        #expect(health { $0.serve() })
        #expect(!health { $0.serve() })
        #expect(health { $0.fail("closed", jitter: 1) } == .init(retryAfterMilliseconds: 50, shouldReport: true))
    }

    @Test("several reports of one failure count once")
    func ignoresEchoes() {
        let health = Subject(NodeHealth())
        _ = health { $0.probe() }
        #expect(health { $0.fail("refused", jitter: 0) } != nil)
        #expect(health { $0.fail("closed", jitter: 0) } == nil)
        #expect(health { $0.succeed() } == nil)
        health { $0.stop() }
        #expect(!health { $0.probe() })
    }
}
