/// The state in which a world ends, for the checkers that judge it.
struct FinalState {
    let now: Time
    /// The keys, in order of their indices.
    let names: [[UInt8]]
    let servers: [Server]
    let nodes: [Node]
    /// The requests that have not been decided.
    let requests: [Int: World.Request]
    let tally: Tally
    /// Whether the world ended with a phase without faults.
    let isRecovering: Bool
    /// The lessee IDs of the servers that run.
    let aliveLesseeIDs: Set<String>
}
