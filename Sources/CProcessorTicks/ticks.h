#include <stdint.h>

// Reads the processor's constant-rate tick counter: one instruction, no call. Returns 0 on other architectures.
static inline uint64_t processor_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return 0;
#endif
}
