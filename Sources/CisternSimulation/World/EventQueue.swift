/// A priority queue of events by due time.
///
/// Events that are due at the same time keep their insertion order.
struct EventQueue<Event> {
    private struct Entry {
        let time: Time
        let order: UInt64
        let event: Event

        func isBefore(_ other: Entry) -> Bool {
            time == other.time ? order < other.order : time < other.time
        }
    }

    /// A binary heap.
    private var entries: [Entry] = []
    private var order: UInt64 = 0

    /// When the next event is due.
    var nextTime: Time? { entries.first?.time }

    mutating func add(_ event: Event, at time: Time) {
        order += 1
        entries.append(Entry(time: time, order: order, event: event))
        var child = entries.count - 1
        while child > 0, entries[child].isBefore(entries[(child - 1) / 2]) {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func popFirst() -> (time: Time, event: Event)? {
        guard let first = entries.first else { return nil }
        let last = entries.removeLast()
        if !entries.isEmpty {
            entries[0] = last
            sink()
        }
        return (first.time, first.event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].isBefore(entries[least]) { least = child }
            }
            guard least != parent else { return }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
