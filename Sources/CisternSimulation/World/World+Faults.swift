internal import Cistern
internal import CisternSupport

/// Faults of the network, servers, nodes and clocks, and recovery from them.
extension World {
    private enum Fault {
        case cut, isolateServer, loseMessages, slow
        case crashServer, pauseServer, drift
        case crashNode, loseNode, hangNode, forgetScript, move

        static let networkFaults: [Fault] = [.cut, .isolateServer, .loseMessages, .slow]
        static let machineFaults: [Fault] = [
            .crashServer, .pauseServer, .drift, .crashNode, .loseNode, .hangNode, .forgetScript, .move,
        ]
    }

    /// Injects one random fault, and schedules the next.
    func injectFault() {
        guard !isRecovering else { return }
        let faults =
            (settings.faults.breaksNetwork ? Fault.networkFaults : [])
            + (settings.faults.breaksMachines ? Fault.machineFaults : [])
        let length = Time.milliseconds(faultRandom.number(Int64(10)...600))
        let server = faultRandom.number(0...settings.servers - 1)
        let node = faultRandom.number(0...settings.nodes - 1)
        switch faultRandom.pick(faults) {
        case .cut: network.cut(server: server, node: node, until: now + length)
        case .isolateServer:
            for other in nodes.indices { network.cut(server: server, node: other, until: now + length) }
        case .loseMessages:
            network.lossyUntil = now + length
            network.lossProbability = faultRandom.fraction() * 0.5
        case .slow: network.slowUntil = now + length
        case .crashServer: crash(server: server, for: length)
        case .pauseServer: pause(server: server, for: length)
        case .drift:
            let most = settings.driftPartsPerMillion
            servers[server].clock.setDrift(partsPerMillion: faultRandom.number(-most...most), now: now)
        case .crashNode: crash(node: node, losingData: false, for: length)
        case .loseNode: crash(node: node, losingData: true, for: length)
        case .hangNode:
            nodes[node].hangsUntil = max(nodes[node].hangsUntil, now + length)
            queue.add(.wakeNode(node), at: nodes[node].hangsUntil)
        case .forgetScript: nodes[node].knowsScript = false
        case .move:
            let key = faultRandom.number(0...settings.keys - 1)
            move(key: key, by: faultRandom.number(1...max(1, settings.nodes - 1)))
        }
        queue.add(.fault, at: now + .milliseconds(faultRandom.number(settings.faultGapMilliseconds)))
    }

    // MARK: Servers

    private func crash(server id: Int, for length: Time) {
        guard servers[id].isUp else { return }
        checkers.endRun(of: servers[id], names: names, at: now)
        servers[id].isUp = false
        servers[id].forgetPending()
        servers[id].backlog.removeAll()
        for number in requests.keys.sorted() where requests[number]?.server == id { requests[number] = nil }
        observe(.crashed(server: id))
        queue.add(.restart(server: id), at: now + length)
    }

    func restart(_ id: Int) {
        guard !servers[id].isUp else { return }
        servers[id] = makeServer(id, incarnation: servers[id].incarnation + 1)
        scheduleTick(id)
    }

    private func pause(server id: Int, for length: Time) {
        guard servers[id].isUp, servers[id].pausesUntil <= now else { return }
        pausedTimes[id] += length
        servers[id].pausesUntil = now + length
        queue.add(.wakeServer(id), at: now + length)
    }

    /// Resumes a paused server, which handles the events received meanwhile.
    func wakeServer(_ id: Int) {
        guard servers[id].pausesUntil <= now else { return }
        let backlog = servers[id].backlog
        servers[id].backlog = []
        for event in backlog {
            if case .arrival(var arrival) = event {
                guard servers[id].isUp else { continue }
                arrival.time = now
                passToLimiter(arrival)
            } else {
                queue.add(event, at: now)
            }
        }
    }

    // MARK: Nodes

    private func crash(node id: Int, losingData: Bool, for length: Time) {
        guard nodes[id].isUp else { return }
        nodes[id].isUp = false
        nodes[id].knowsScript = false
        nodes[id].backlog.removeAll()
        nodes[id].hangsUntil = 0
        if losingData {
            for key in nodes[id].entries.keys.sorted() {
                let outstanding = nodes[id].entries[key]?.bucket.outstanding ?? 0
                observe(.lost(key: key, outstanding: outstanding))
            }
            nodes[id].entries.removeAll()
        }
        for server in servers where server.isUp {
            for time in network.arrivals(server: server.id, node: id, now: now) {
                queue.add(.connectionLost(server: server.id, incarnation: server.incarnation, node: id), at: time)
            }
        }
        queue.add(.revive(node: id), at: now + length)
    }

    func wakeNode(_ id: Int) {
        guard nodes[id].hangsUntil <= now else { return }
        let backlog = nodes[id].backlog
        nodes[id].backlog = []
        for message in backlog { receive(message, at: id) }
    }

    /// Moves a key's bucket with its leases to another node; servers learn of this from their next request.
    private func move(key: Int, by steps: Int) {
        let old = partitions[key]
        let node = (old + steps) % settings.nodes
        guard old != node, nodes[old].isUp, nodes[node].isUp else { return }
        // A move to a node with a different clock is a clock step, too.
        let step = nodes[node].clockOffset - nodes[old].clockOffset
        if step != 0 { observeStep(of: key, isForward: step > 0) }
        nodes[node].entries[key] = nodes[old].entries.removeValue(forKey: key)
        partitions[key] = node
    }

    // MARK: Clocks of the nodes

    private static let gapsBetweenSteps = Time.milliseconds(300)...Time.milliseconds(2000)
    private static let steps: [Time] = [
        .milliseconds(250), .milliseconds(1000), .milliseconds(15_000), .milliseconds(3_600_000),
    ]

    /// Schedules the first clock step: always with clock faults, and in half of the worlds with all faults.
    func scheduleFirstStep() {
        let isChosen = clockStepRandom.chance(0.5)
        guard settings.faults == .clock || settings.faults == .all && isChosen else { return }
        queue.add(.stepClock, at: clockStepRandom.number(Self.gapsBetweenSteps))
    }

    private func observeStep(of key: Int, isForward: Bool) {
        let node = nodes[partitions[key]]
        let bucket = node.entries[faultInjection.bucket(of: key)]?.bucket
        let time = bucket?.time(atClock: node.clock(at: now).storeMilliseconds) ?? 0
        let trickleRemaining = (bucket?.trickleSlots ?? []).reduce(0) {
            $0 + $1.rate * max(0, $1.endsMilliseconds - time)
        }
        observe(.stepped(key: key, isForward: isForward, trickleRemainingUnits: trickleRemaining))
    }

    /// Steps one node's clock forward or back, and schedules the next step.
    func stepClock() {
        guard !isRecovering else { return }
        let node = clockStepRandom.number(0...settings.nodes - 1)
        let step = clockStepRandom.pick(Self.steps)
        let isForward = clockStepRandom.chance(0.5)
        for key in partitions.indices where partitions[key] == node {
            observeStep(of: key, isForward: isForward)
        }
        nodes[node].clockOffset += isForward ? step : -step
        queue.add(.stepClock, at: now + clockStepRandom.number(Self.gapsBetweenSteps))
    }

    // MARK: Recovery

    /// Ends all faults and switches to a light load.
    func beginRecovery() {
        isRecovering = true
        network.heal()
        for id in nodes.indices {
            nodes[id].isUp = true
            nodes[id].hangsUntil = 0
            wakeNode(id)
        }
        for id in servers.indices {
            restart(id)
            servers[id].clock.setDrift(partsPerMillion: 0, now: now)
            servers[id].pausesUntil = min(servers[id].pausesUntil, now)
            wakeServer(id)
        }
        workload = Workload(
            .even, load: 0.3, refillPerSecond: settings.limit.refillPerSecond, servers: settings.servers,
            keys: settings.keys, population: settings.population,
            period: .milliseconds(settings.periodMilliseconds),
            random: SeededRandom(seed: settings.seed, purpose: 6))
        observe(.recovering)
    }
}
