#include <stdint.h>

// Prefetches a cache line: one instruction, which never waits and never faults.
static inline void processor_fetch_line(uintptr_t address) {
    __builtin_prefetch((const void *)address);
}

// Tells the processor that this thread is spinning until another thread changes a value.
static inline void processor_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

// Declared here because unistd.h declares too much: the engine imports this module and must not do I/O.
int usleep(unsigned int microseconds);

// Yields the processor for about 50 microseconds, the shortest sleep of the system; the time is not exact. Callers must
// poll their condition again, since a ShardLock is released by a plain store, which wakes no thread.
static inline void thread_sleep_briefly(void) {
    usleep(1);
}
