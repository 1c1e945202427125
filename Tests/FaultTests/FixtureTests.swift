import CisternProcesses
import CisternTesting
import Foundation
import Synchronization
import Testing

@Suite("The test fixtures")
struct FixtureTests {
    /// A connection to Redis that sends inline commands, as a person with telnet would.
    private final class Line {
        private let socket: Socket

        init(port: Int, timeoutSeconds: Int = 20) throws {
            socket = try Socket(port: port, timeoutSeconds: timeoutSeconds)
        }

        func send(_ text: String) throws {
            try socket.send(Array("\(text)\r\n".utf8))
        }

        /// Receives a number of bytes, or fewer where the connection ends.
        func receive(_ count: Int) throws -> [UInt8] {
            var bytes: [UInt8] = []
            while bytes.count < count {
                let more = try socket.receive()
                if more.isEmpty { break }
                bytes += more
            }
            return bytes
        }

        func exchange(_ text: String, _ count: Int) throws -> String {
            try send(text)
            return String(decoding: try receive(count), as: UTF8.self)
        }
    }

    // MARK: The cluster

    @Test("a cluster starts, and the migration of a slot passes through each state while reads succeed")
    func clusterMigrates() async throws {
        let cluster = try await RedisCluster()
        #expect(cluster.ports.count == 6)
        let slot = try await cluster.slot(ofKey: "{tag}")
        let source = try await cluster.primary(ofSlot: slot)
        let replicas = try await cluster.replicas(of: source)
        #expect(replicas.count == 1)
        let target = try #require(cluster.ports.prefix(3).first { $0 != source })
        for number in 0..<25 {
            #expect(try await cluster.command(on: source, "SET", "{tag}\(number)", "\(number)") == "OK")
        }
        #expect(try await cluster.command(on: target, "GET", "{tag}0") == "MOVED \(slot) 127.0.0.1:\(source)")

        // Reads run throughout, through every node. The migration steps check known states in between.
        let isOver = Atomic(false)
        let wrong = Mutex<[String]>([])
        async let reads = {
            var count = 0
            while !isOver.load(ordering: .relaxed) {
                let number = count % 25
                let port = cluster.ports[count % cluster.ports.count]
                let value = try await cluster.command(on: port, following: true, "GET", "{tag}\(number)")
                if value != "\(number)" { wrong.withLock { $0.append("\(number) from \(port): \(value)") } }
                count += 1
            }
            return count
        }()
        let steps = Mutex<[RedisCluster.MigrationStep]>([])
        try await cluster.migrate(slot: slot, from: source, to: target, batch: 10) { step in
            steps.withLock { $0.append(step) }
            let missing = try await cluster.command(on: source, "GET", "{tag}missing")
            let atTarget = try await cluster.command(on: target, "GET", "{tag}missing")
            switch step {
            case .importing:
                #expect(missing == "")
                #expect(atTarget == "MOVED \(slot) 127.0.0.1:\(source)")
            case .migrating, .moved:
                #expect(missing == "ASK \(slot) 127.0.0.1:\(target)")
                #expect(atTarget == "MOVED \(slot) 127.0.0.1:\(source)")
            case .targetOwns:
                #expect(atTarget == "")
            case .sourceKnows:
                #expect(missing == "MOVED \(slot) 127.0.0.1:\(target)")
                #expect(atTarget == "")
            }
        }
        isOver.store(true, ordering: .relaxed)
        #expect(try await reads > 0)
        #expect(wrong.withLock { $0 } == [])
        #expect(
            steps.withLock { $0 } == [
                .importing, .migrating, .moved(10), .moved(20), .moved(25), .targetOwns, .sourceKnows,
            ])
        #expect(try await cluster.primary(ofSlot: slot) == target)
        for number in 0..<25 {
            #expect(try await cluster.command(on: target, "GET", "{tag}\(number)") == "\(number)")
        }
        try await cluster.settle()
    }

    @Test("a killed primary is replaced by its replica, and comes back as a replica")
    func clusterFailsOver() async throws {
        let cluster = try await RedisCluster(arguments: ["--cluster-require-full-coverage", "no"], password: "secret")
        let slot = try await cluster.slot(ofKey: "key")
        let old = try await cluster.primary(ofSlot: slot)
        let replica = try #require(try await cluster.replicas(of: old).first)
        #expect(try await cluster.command(on: old, "SET", "key", "value") == "OK")
        try await eventually("the replica to have the key") {
            try await cluster.command(on: replica, "DBSIZE") == "1"
        }
        try await cluster.kill(old)
        #expect(try await cluster.waitForFailover(ofSlot: slot, from: old) == replica)
        try await cluster.settle()
        #expect(try await cluster.command(on: replica, "GET", "key") == "value")
        #expect(cluster.nodes.count == 5)

        try await cluster.restart(old)
        try await eventually("the old primary to follow the new one") {
            try await cluster.replicas(of: replica) == [old]
        }
        try await cluster.settle()
        #expect(cluster.nodes.count == 6)
        #expect(try await cluster.command(on: old, following: true, "GET", "key") == "value")
    }

    @Test("a paused primary is replaced, too, and becomes a replica when it resumes")
    func clusterOutlivesPause() async throws {
        let cluster = try await RedisCluster()
        let slot = try await cluster.slot(ofKey: "key")
        let old = try await cluster.primary(ofSlot: slot)
        try cluster.node(old).pause()
        let new = try await cluster.waitForFailover(ofSlot: slot, from: old)
        #expect(new != old)
        try cluster.node(old).resume()
        try await eventually("the old primary to follow the new one") {
            try await cluster.replicas(of: new) == [old]
        }
        try await cluster.settle()
        #expect(cluster.nodes.count == 6)
    }

    @Test("a cluster with TLS and a password migrates a slot, too")
    func clusterWithTLS() async throws {
        let cluster = try await RedisCluster(
            primaries: 3, replicasPerPrimary: 0, password: "secret", certificates: try await TLSCertificates())
        let slot = try await cluster.slot(ofKey: "key")
        let source = try await cluster.primary(ofSlot: slot)
        let target = try #require(cluster.ports.first { $0 != source })
        #expect(try await cluster.command(on: target, following: true, "SET", "key", "value") == "OK")
        try await cluster.migrate(slot: slot, from: source, to: target)
        #expect(try await cluster.command(on: target, "GET", "key") == "value")
    }

    @Test("a paused server keeps its connections and answers when it resumes")
    func serverPauses() async throws {
        let server = try await RedisServer()
        let line = try Line(port: server.port)
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
        server.pause()
        #expect(!server.isAnswering)
        let hasty = try Line(port: server.port, timeoutSeconds: 1)
        #expect(throws: Socket.Failure.self) { try hasty.exchange("PING", 7) }
        server.resume()
        #expect(server.isAnswering)
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
    }

    // MARK: The proxy

    @Test("the proxy delays both directions and keeps the order")
    func proxyDelays() async throws {
        let server = try await RedisServer()
        let proxy = try ByteProxy(to: server.port)
        let line = try Line(port: proxy.port)
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
        proxy.delay(requestMilliseconds: 60, replyMilliseconds: 60)
        let begin = ContinuousClock.now
        for number in 0..<20 { try line.send("ECHO \(10 + number)") }
        // The delay is shorter now, but later commands must not overtake earlier ones.
        proxy.delay(requestMilliseconds: 5)
        for number in 20..<40 { try line.send("ECHO \(10 + number)") }
        let expected = (0..<40).map { "$2\r\n\(10 + $0)\r\n" }.joined()
        #expect(String(decoding: try line.receive(expected.utf8.count), as: UTF8.self) == expected)
        // Only a lower bound: how much longer it takes depends on the machine.
        #expect(ContinuousClock.now - begin >= .milliseconds(60))
        #expect(proxy.counts.accepted == 1)
        #expect(proxy.counts.requestBytes == 6 + 40 * 9)
        #expect(proxy.counts.replyBytes == 7 + expected.utf8.count)
    }

    @Test("the proxy carries more bytes than any buffer holds")
    func proxyCarriesMuch() async throws {
        let server = try await RedisServer()
        let proxy = try ByteProxy(to: server.port)
        let line = try Line(port: proxy.port)
        let value = String(repeating: "0123456789", count: 2_000_000)
        try line.send("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$\(value.utf8.count)\r\n\(value)")
        #expect(String(decoding: try line.receive(5), as: UTF8.self) == "+OK\r\n")
        #expect(try line.exchange("GET key", value.utf8.count + 13) == "$20000000\r\n\(value)\r\n")
    }

    @Test("the proxy cuts connections, cuts replies in the middle, and refuses connections")
    func proxyCuts() async throws {
        let server = try await RedisServer()
        let proxy = try ByteProxy(to: server.port)
        let first = try Line(port: proxy.port)
        #expect(try first.exchange("PING", 7) == "+PONG\r\n")
        proxy.cut()
        #expect(proxy.counts.open == 0)
        #expect(throws: Socket.Failure.self) { try first.receive(1) }

        let second = try Line(port: proxy.port)
        proxy.cutAfter(replyBytes: 10)
        #expect(try second.exchange("PING", 7) == "+PONG\r\n")
        #expect(try second.exchange("PING", 7) == "+PO")
        let third = try Line(port: proxy.port)
        #expect(try third.exchange("PING", 7) == "+PONG\r\n")

        try proxy.refuse(true)
        #expect(throws: Socket.Failure.self) { try Line(port: proxy.port) }
        #expect(try third.exchange("PING", 7) == "+PONG\r\n")
        try proxy.refuse(false)
        #expect(try Line(port: proxy.port).exchange("PING", 7) == "+PONG\r\n")
        #expect(proxy.counts.accepted == 4)

        // If the server ends, so does the connection of the client. Without a server, new connections end at once.
        try await server.kill()
        #expect(try third.receive(1).isEmpty)
        let last = try Line(port: proxy.port)
        #expect(throws: Socket.Failure.self) { try last.exchange("PING", 7) }
        // The third client has not closed its side yet.
        try await eventually("the other connections to end") { proxy.counts.open == 1 }
        proxy.stop()
        #expect(throws: Socket.Failure.self) { try Line(port: proxy.port) }
    }

    @Test("behind a black-holing proxy, connections stay open and nothing arrives until it stops")
    func proxyGoesSilent() async throws {
        let server = try await RedisServer()
        let proxy = try ByteProxy(to: server.port)
        let old = try Line(port: proxy.port)
        #expect(try old.exchange("PING", 7) == "+PONG\r\n")
        proxy.blackhole(true)
        let new = try Line(port: proxy.port, timeoutSeconds: 1)
        try old.send("INCR count")
        #expect(throws: Socket.Failure.self) { try new.exchange("INCR count", 4) }
        #expect(try await server.command("EXISTS", "count") == "0")
        #expect(proxy.counts.requestBytes == 6)

        // Now requests reach the server, but its replies are dropped.
        proxy.blackhole(requests: false, replies: true)
        try await eventually("both requests to arrive") { try await server.command("GET", "count") == "2" }
        #expect(proxy.counts.replyBytes == 7)
        proxy.blackhole(false)
        let answers = [old, new].map { line in Result { String(decoding: try line.receive(4), as: UTF8.self) } }
        #expect(try answers.map { try $0.get() }.sorted() == [":1\r\n", ":2\r\n"])
    }

    @Test("the proxy corrupts one byte of the replies, or all bytes")
    func proxyCorrupts() async throws {
        let server = try await RedisServer()
        let proxy = try ByteProxy(to: server.port)
        let line = try Line(port: proxy.port)
        proxy.corruptNext(after: 8, mask: 0x01)
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
        #expect(try line.exchange("PING", 7) == "+QONG\r\n")
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
        proxy.corrupt(true)
        try line.send("PING")
        #expect(try line.receive(7) == "+PONG\r\n".utf8.map { $0 ^ 0x80 })
        proxy.corrupt(false)
        #expect(try line.exchange("PING", 7) == "+PONG\r\n")
    }

    @Test("a deallocated proxy leaves no open connection")
    func proxyLeavesNothing() async throws {
        let server = try await RedisServer()
        for _ in 0..<50 {
            let proxy = try ByteProxy(to: server.port)
            #expect(try Line(port: proxy.port).exchange("PING", 7) == "+PONG\r\n")
        }
        // The only remaining client is the one that sends this command.
        try await eventually("all other clients to be gone") {
            try await server.command("INFO", "clients").contains("connected_clients:1\r\n")
        }
    }

    // MARK: Certificates

    @Test("a server that requires client certificates accepts only those of its authority")
    func certificates() async throws {
        let files = try await TLSCertificates()
        let server = try await RedisServer(files.serverArguments(), tls: true)
        func ping(_ host: String, _ arguments: [String]) async throws -> (isOK: Bool, text: String) {
            let client = try ChildProcess(
                "redis-cli", ["-h", host, "-p", "\(server.port)", "--tls"] + arguments + ["PING"])
            let isOK = try await client.exitCode() == 0
            return (isOK && client.text == "PONG\n", client.text)
        }
        let own = ["--cert", files.clientCert, "--key", files.clientKey]
        let foreign = ["--cert", files.otherClientCert, "--key", files.otherClientKey]
        #expect(try await ping("127.0.0.1", ["--cacert", files.caFile] + own).isOK)
        #expect(try await !ping("127.0.0.1", ["--cacert", files.caFile]).isOK)
        #expect(try await !ping("127.0.0.1", ["--cacert", files.caFile] + foreign).isOK)
        let distrust = try await ping("127.0.0.1", ["--cacert", files.otherCAFile] + own)
        #expect(!distrust.isOK && distrust.text.contains("certificate verify failed"))

        let names = try ChildProcess("openssl", ["x509", "-in", files.serverCert, "-noout", "-ext", "subjectAltName"])
        #expect(try await names.exitCode() == 0)
        #expect(names.text.contains("DNS:localhost, IP Address:127.0.0.1"))
        let wrong = try await TLSCertificates(serverNames: "DNS:elsewhere")
        let check = try ChildProcess(
            "openssl", ["verify", "-CAfile", wrong.caFile, "-verify_hostname", "localhost", wrong.serverCert])
        #expect(try await check.exitCode() != 0)
        #expect(check.text.contains("hostname mismatch"))
    }
}
