/* sync_watch: preloaded into a server, it notes when each commit reached the disk, and can make
 * commits slower. The product knows nothing of it.
 *
 * A call of fdatasync or fsync on a file whose name ends in "account.db-wal" is a commit (with a
 * few more at checkpoints). Each is noted in the file named by LOTE_SYNC_LOG: one count, then pairs
 * of microseconds since 1970, begin and end; LOTE_SYNC_DELAY_US is slept away in each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_MAX (1 << 20)
static const char wanted[] = "account.db-wal";

struct log {
    _Atomic uint64_t count;
    int64_t moments[ENTRIES_MAX][2];
};

static struct log *seen;
static long delay_us;
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void begin(void) {
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const char *delay = getenv("LOTE_SYNC_DELAY_US"), *path = getenv("LOTE_SYNC_LOG");
    delay_us = delay ? atol(delay) : 0;
    if (!path) return;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ftruncate(file, sizeof(struct log)) != 0) {
        perror("sync_watch");
        _exit(2);
    }
    void *mapped = mmap(NULL, sizeof(struct log), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) _exit(2);
    seen = mapped;
}

static int is_commit(int file) {
    char link[40], name[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, sizeof name);
    ssize_t tail = sizeof wanted - 1;
    return length >= tail && memcmp(name + length - tail, wanted, tail) == 0;
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int watched(int (*real)(int), int file) {
    if (!is_commit(file)) return real(file);
    int64_t began_us = now_us();
    int result = real(file);
    if (delay_us) usleep(delay_us);
    if (seen) {
        uint64_t index = atomic_load(&seen->count);
        if (index < ENTRIES_MAX) { /* one thread commits */
            seen->moments[index][0] = began_us;
            seen->moments[index][1] = now_us();
            atomic_store(&seen->count, index + 1);
        }
    }
    return result;
}

int fdatasync(int file) { return watched(real_fdatasync, file); }
int fsync(int file) { return watched(real_fsync, file); }
