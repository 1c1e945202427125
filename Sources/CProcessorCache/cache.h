#include <stdint.h>

// Asks the processor to fetch a line of memory ahead of its use: one instruction, which waits for nothing and faults at no address.
static inline void processor_fetch_line(uintptr_t address) {
    __builtin_prefetch((const void *)address);
}
