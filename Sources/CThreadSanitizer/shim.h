// Entry points of the thread sanitizer's runtime, by which code tells it of synchronisation that it cannot see.
void __tsan_acquire(void *address);
void __tsan_release(void *address);
