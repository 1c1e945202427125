/// An array that has one owner: no reference count, no copy on write, and its bookkeeping inside the owner.
///
/// A table behind a lock touches its arrays for each decision. A Swift `Array` would keep count and reference count on
/// a further cache line, and check the latter at each change. (swift-collections has such a type, `UniqueArray`; its
/// module does not compile under the thread sanitizer with Swift 6.3.1.) Every access is checked against the count.
struct UniqueBuffer<Element: BitwiseCopyable>: ~Copyable {
    private var start: UnsafeMutablePointer<Element>
    private(set) var count: Int
    private var capacity: Int

    init(repeating element: Element, count: Int) {
        capacity = max(count, 8)
        start = .allocate(capacity: capacity)
        start.initialize(repeating: element, count: count)
        self.count = count
    }

    init() {
        capacity = 8
        start = .allocate(capacity: capacity)
        count = 0
    }

    deinit {
        start.deallocate()
    }

    subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress { UnsafePointer(address(of: index)) }
        @inline(__always) unsafeMutableAddress { address(of: index) }
    }

    @inline(__always)
    private func address(of index: Int) -> UnsafeMutablePointer<Element> {
        precondition(UInt(bitPattern: index) < UInt(bitPattern: count), "position beyond the end")
        return start + index
    }

    /// Where it stands until it grows.
    var address: UInt { UInt(bitPattern: start) }

    mutating func append(_ element: Element) {
        if count == capacity { grow() }
        (start + count).initialize(to: element)
        count += 1
    }

    mutating func popLast() -> Element? {
        guard count > 0 else { return nil }
        count -= 1
        return start[count]
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        larger.initialize(from: start, count: count)
        start.deallocate()
        start = larger
        capacity *= 2
    }
}
