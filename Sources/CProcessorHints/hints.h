#include <stdint.h>
#include <time.h>

// Asks the processor to fetch a line of memory ahead of its use: one instruction, which waits for nothing and faults at no address.
static inline void processor_fetch_line(uintptr_t address) {
    __builtin_prefetch((const void *)address);
}

// Tells the processor that this thread looks at one place again and again.
static inline void processor_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static inline void thread_nap(void) {
    struct timespec nap = {0, 20000};
    nanosleep(&nap, 0);
}
