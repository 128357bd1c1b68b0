/* What a node's machine does wrong: its clock is moved, its disk is slow. Preloaded before the C
 * library of the real binary. The file that FAULTS_FILE names holds two numbers of 8 bytes, which a
 * test changes while the process runs: milliseconds that the wall clock is ahead, and microseconds
 * that each fdatasync takes longer. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *faults;

__attribute__((constructor)) static void open_faults(void) {
    const char *path = getenv("FAULTS_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(0, 16, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) faults = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int failed = (int)syscall(SYS_clock_gettime, clock, time);
    if (!failed && faults && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ahead_ms = faults[0];
        int64_t ns = time->tv_nsec + (ahead_ms % 1000) * 1000000;
        time->tv_sec += ahead_ms / 1000;
        if (ns < 0) { ns += 1000000000; time->tv_sec -= 1; }
        if (ns >= 1000000000) { ns -= 1000000000; time->tv_sec += 1; }
        time->tv_nsec = ns;
    }
    return failed;
}

int fdatasync(int file) {
    if (faults && faults[1] > 0) usleep((useconds_t)faults[1]);
    return (int)syscall(SYS_fdatasync, file);
}
