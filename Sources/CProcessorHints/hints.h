#include <stdint.h>

// Asks the processor to fetch a line of memory ahead of its use: one instruction, which waits for nothing and faults at no address.
static inline void processor_fetch_line(uintptr_t address) {
    __builtin_prefetch((const void *)address);
}

// Tells the processor that this thread looks at one place until another thread changes it.
static inline void processor_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

// Of unistd.h, which has much that must not be seen from here: this module is let into the decision module, where there is no IO.
int usleep(unsigned int microseconds);

// Gives the processor to other threads for some 50 microseconds, as short as the system sleeps. It is no measure of time: whoever
// calls it looks again at what it waits for, since the holder of a ShardLock, let go by a plain store, wakes nobody.
static inline void thread_sleep_briefly(void) {
    usleep(1);
}
