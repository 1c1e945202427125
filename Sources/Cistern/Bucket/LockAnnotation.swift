#if CISTERN_SANITIZE
    internal import CThreadSanitizer
#endif

/// Tells the thread sanitizer of a lock that it cannot see, and nobody in any other build.
///
/// `Mutex` locks inside the Swift runtime, which is not instrumented, so to the sanitizer every access under one would
/// look like a race. Told of the lock it reports what it is there for: accesses outside it.
struct LockAnnotation: Sendable {
    #if CISTERN_SANITIZE
        /// An address that stands for the lock: a byte of its own, never given back.
        private let address = UInt(bitPattern: UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))
    #endif

    @inline(__always)
    func acquired() {
        #if CISTERN_SANITIZE
            __tsan_acquire(UnsafeMutableRawPointer(bitPattern: address))
        #endif
    }

    @inline(__always)
    func releasing() {
        #if CISTERN_SANITIZE
            __tsan_release(UnsafeMutableRawPointer(bitPattern: address))
        #endif
    }
}
