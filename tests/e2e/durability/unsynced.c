/* Keeps a shadow of a folder that holds only what was synced, so that a test can cut the power.
 *
 * Preloaded into a server. LOTE_SHADOWED is the folder, LOTE_SHADOW the place of its shadow:
 *   <shadow>/inodes/<number>   what was synced of a file
 *   <shadow>/folders/<number>  the entries of a directory as of its last fsync: files are links to
 *                              those in inodes, directories symbolic links that say their number
 * A write goes to the file as always, and its range is noted. fsync and fdatasync of a file copy
 * what was noted into the shadow, before they return. fsync of a directory makes the names in its
 * shadow what they are in the directory. Nothing else reaches the shadow: cutting the power is
 * killing the processes and putting in the folder's place what its shadow holds, from the top.
 *
 * Files whose name ends in -shm are left alone: SQLite maps them, and makes them anew.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES_MAX 65536
#define RANGES_MAX 64

typedef struct { off_t first, end; } Range;
typedef struct { ino_t inode; int count; Range ranges[RANGES_MAX]; } File;

static char root[PATH_MAX], shadow[PATH_MAX];
static size_t root_length;
static dev_t device;
static File *files[FILES_MAX]; /* open addressing by inode; nothing is ever taken out */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_on;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_mkdirat)(int, const char *, mode_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_sendfile)(int, int, off_t *, size_t);
static ssize_t (*real_copy_file_range)(int, off_t *, int, off_t *, size_t, unsigned);

static void *find(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) { fprintf(stderr, "unsynced: no %s\n", name); abort(); }
    return found;
}

static void broken(const char *what, const char *path) {
    fprintf(stderr, "unsynced: %s %s: %s\n", what, path, strerror(errno));
    abort(); /* a shadow that is wrong would make the test say what is not so */
}

__attribute__((constructor)) static void begin(void) {
    if (real_open) return;
    real_open = find("open64");
    real_openat = find("openat64");
    real_write = find("write");
    real_writev = find("writev");
    real_pwrite = find("pwrite64");
    real_pwritev = find("pwritev64");
    real_ftruncate = find("ftruncate64");
    real_mkdirat = find("mkdirat");
    real_fsync = find("fsync");
    real_fdatasync = find("fdatasync");
    real_sendfile = find("sendfile64");
    real_copy_file_range = find("copy_file_range");
    const char *folder = getenv("LOTE_SHADOWED"), *place = getenv("LOTE_SHADOW");
    struct stat status;
    if (!folder || !place || !realpath(folder, root) || !realpath(place, shadow)) return;
    if (stat(root, &status)) return;
    root_length = strlen(root);
    device = status.st_dev;
    is_on = 1;
}

/* -- which files ------------------------------------------------------------------------- */

static File **slot_of(ino_t inode) {
    for (size_t n = inode % FILES_MAX, tries = 0; tries < FILES_MAX; n = (n + 1) % FILES_MAX, tries++)
        if (!files[n] || files[n]->inode == inode) return &files[n];
    fprintf(stderr, "unsynced: too many files\n");
    abort();
}

static File *known(int fd) {
    struct stat status;
    if (!is_on || fstat(fd, &status) || status.st_dev != device || !S_ISREG(status.st_mode)) return NULL;
    return *slot_of(status.st_ino);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static void inode_path(ino_t inode, char *path) {
    snprintf(path, PATH_MAX + 64, "%s/inodes/%lu", shadow, (unsigned long)inode);
}

static void folder_path(ino_t inode, char *path) {
    snprintf(path, PATH_MAX + 64, "%s/folders/%lu", shadow, (unsigned long)inode);
}

static void note(File *file, off_t first, off_t end) {
    if (first >= end) return;
    for (int n = 0; n < file->count; n++) {
        Range *range = &file->ranges[n];
        if (first <= range->end && end >= range->first) {
            if (first < range->first) range->first = first;
            if (end > range->end) range->end = end;
            return;
        }
    }
    if (file->count == RANGES_MAX) { /* a range too large only copies what is synced anyhow */
        Range *all = &file->ranges[0];
        for (int n = 1; n < RANGES_MAX; n++) {
            if (file->ranges[n].first < all->first) all->first = file->ranges[n].first;
            if (file->ranges[n].end > all->end) all->end = file->ranges[n].end;
        }
        file->count = 1;
        note(file, first < all->first ? first : all->first, end > all->end ? end : all->end);
        return;
    }
    file->ranges[file->count++] = (Range){first, end};
}

static void opened(int fd, int flags, int is_new) {
    char path[PATH_MAX], kept[PATH_MAX + 64];
    struct stat status;
    if (!is_on || fd < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH)) return;
    if (fstat(fd, &status) || status.st_dev != device || !S_ISREG(status.st_mode)) return;
    if (!path_of(fd, path)) return;
    size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return;
    pthread_mutex_lock(&lock);
    File **slot = slot_of(status.st_ino);
    if (!*slot) {
        *slot = calloc(1, sizeof(File));
        (*slot)->inode = status.st_ino;
    }
    if (is_new) { /* a number that another file had: its content was never this one's */
        inode_path(status.st_ino, kept);
        unlink(kept);
        (*slot)->count = 0;
    }
    pthread_mutex_unlock(&lock);
}

/* -- what is written --------------------------------------------------------------------- */

static void wrote(int fd, off_t first, ssize_t count) {
    if (count <= 0) return;
    int error = errno;
    File *file = known(fd);
    if (file) {
        if (first < 0) first = lseek(fd, 0, SEEK_CUR) - count;
        pthread_mutex_lock(&lock);
        note(file, first, first + count);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
}

static void cut(int fd, off_t size) {
    struct stat status;
    File *file = known(fd);
    if (!file || fstat(fd, &status)) return;
    pthread_mutex_lock(&lock);
    note(file, size < status.st_size ? size : status.st_size, size > status.st_size ? size : status.st_size);
    pthread_mutex_unlock(&lock);
}

/* -- what is synced ---------------------------------------------------------------------- */

static void copy_range(int from, int to, off_t first, off_t end, const char *path) {
    static char buffer[1 << 16]; /* under the lock */
    while (first < end) {
        size_t wanted = end - first < (off_t)sizeof buffer ? (size_t)(end - first) : sizeof buffer;
        ssize_t count = pread(from, buffer, wanted, first);
        if (count < 0) broken("can't read", path);
        if (!count) return; /* cut off since */
        if (real_pwrite(to, buffer, count, first) != count) broken("can't write", path);
        first += count;
    }
}

static void keep_file(int fd, const struct stat *status) {
    char kept[PATH_MAX + 64], link[64];
    File *file = *slot_of(status->st_ino);
    if (!file) return;
    inode_path(status->st_ino, kept);
    int is_new = access(kept, F_OK);
    int to = real_open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (to < 0) broken("can't make", kept);
    int from = fd;
    if ((fcntl(fd, F_GETFL) & (O_ACCMODE | O_DIRECT)) != O_RDWR) {
        /* Such files have no locks of SQLite's, which closing another descriptor would drop. */
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        from = real_open(link, O_RDONLY | O_CLOEXEC);
        if (from < 0) broken("can't open", kept);
    }
    if (is_new) copy_range(from, to, 0, status->st_size, kept);
    for (int n = 0; n < file->count; n++)
        copy_range(from, to, file->ranges[n].first, file->ranges[n].end, kept);
    file->count = 0;
    if (real_ftruncate(to, status->st_size)) broken("can't cut", kept);
    close(to);
    if (from != fd) close(from);
}

static void empty_folder(const char *path) {
    char below[PATH_MAX * 2];
    DIR *folder = opendir(path);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        unlink(below);
    }
    closedir(folder);
}

static void make_link(const char *from, const char *named, int is_folder) {
    char made[PATH_MAX + 16];
    struct stat there, status;
    char said[64];
    if (!lstat(named, &there)) {
        ssize_t length = is_folder ? readlink(named, said, sizeof said - 1) : -1;
        if (length >= 0 && (said[length] = 0, !strcmp(said, from))) return;
        if (!is_folder && !stat(from, &status) && status.st_ino == there.st_ino) return;
    }
    snprintf(made, sizeof made, "%s/made", shadow); /* renamed: a kill leaves old or new */
    unlink(made);
    if (is_folder ? symlink(from, made) : link(from, made)) broken("can't link", named);
    if (rename(made, named)) broken("can't name", named);
}

static void keep_names(const char *path, ino_t inode) {
    char names[PATH_MAX + 64], real[PATH_MAX * 2], named[PATH_MAX * 2], kept[PATH_MAX + 64];
    struct stat status;
    folder_path(inode, names);
    if (real_mkdirat(AT_FDCWD, names, 0700) && errno != EEXIST) broken("can't make", names);
    DIR *folder = opendir(path);
    if (!folder) broken("can't list", path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (length > 4 && !strcmp(entry->d_name + length - 4, "-shm")) continue;
        snprintf(real, sizeof real, "%s/%s", path, entry->d_name);
        snprintf(named, sizeof named, "%s/%s", names, entry->d_name);
        if (lstat(real, &status)) continue; /* gone since */
        if (S_ISDIR(status.st_mode)) {
            snprintf(kept, sizeof kept, "%lu", (unsigned long)status.st_ino);
            make_link(kept, named, 1);
        } else if (S_ISREG(status.st_mode)) {
            inode_path(status.st_ino, kept);
            int fd = real_open(kept, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (fd < 0) broken("can't make", kept);
            close(fd);
            make_link(kept, named, 0);
        }
    }
    closedir(folder);
    folder = opendir(names);
    if (!folder) broken("can't list", names);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(real, sizeof real, "%s/%s", path, entry->d_name);
        snprintf(named, sizeof named, "%s/%s", names, entry->d_name);
        if (lstat(real, &status)) unlink(named);
    }
    closedir(folder);
}

static void synced(int fd) {
    char path[PATH_MAX];
    struct stat status;
    if (!is_on || fstat(fd, &status) || status.st_dev != device) return;
    if (S_ISREG(status.st_mode)) {
        pthread_mutex_lock(&lock);
        keep_file(fd, &status);
        pthread_mutex_unlock(&lock);
    } else if (S_ISDIR(status.st_mode) && path_of(fd, path)) {
        pthread_mutex_lock(&lock);
        keep_names(path, status.st_ino);
        pthread_mutex_unlock(&lock);
    }
}

/* -- the calls --------------------------------------------------------------------------- */

#define MODE \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

static int open_known(int at, const char *path, int flags, mode_t mode) {
    struct stat status;
    begin(); /* some library's constructor may come before ours */
    int is_new = is_on && (flags & O_CREAT) && fstatat(at, path, &status, 0);
    int old = is_on && (flags & O_TRUNC) && !fstatat(at, path, &status, 0);
    int fd = at == AT_FDCWD ? real_open(path, flags, mode) : real_openat(at, path, flags, mode);
    int error = errno;
    opened(fd, flags, is_new);
    File *file = fd >= 0 && old ? known(fd) : NULL;
    if (file) {
        pthread_mutex_lock(&lock);
        note(file, 0, status.st_size);
        pthread_mutex_unlock(&lock);
    }
    errno = error;
    return fd;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) {
    char kept[PATH_MAX + 64];
    struct stat status;
    int failed = real_mkdirat(at, path, mode);
    if (!failed && is_on && !fstatat(at, path, &status, 0) && status.st_dev == device) {
        folder_path(status.st_ino, kept); /* a number that another one had */
        empty_folder(kept);
    }
    return failed;
}

int open(const char *path, int flags, ...) { MODE return open_known(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return open_known(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return open_known(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return open_known(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_known(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

ssize_t write(int fd, const void *from, size_t size) {
    ssize_t count = real_write(fd, from, size);
    wrote(fd, -1, count);
    return count;
}
ssize_t writev(int fd, const struct iovec *from, int parts) {
    ssize_t count = real_writev(fd, from, parts);
    wrote(fd, -1, count);
    return count;
}
ssize_t pwrite64(int fd, const void *from, size_t size, off_t offset) {
    ssize_t count = real_pwrite(fd, from, size, offset);
    wrote(fd, offset, count);
    return count;
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t offset) { return pwrite64(fd, from, size, offset); }
ssize_t pwritev64(int fd, const struct iovec *from, int parts, off_t offset) {
    ssize_t count = real_pwritev(fd, from, parts, offset);
    wrote(fd, offset, count);
    return count;
}
ssize_t pwritev(int fd, const struct iovec *from, int parts, off_t offset) { return pwritev64(fd, from, parts, offset); }
ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    ssize_t count = real_sendfile(to, from, offset, size);
    wrote(to, -1, count);
    return count;
}
ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }
ssize_t copy_file_range(int from, off_t *first, int to, off_t *second, size_t size, unsigned flags) {
    off_t begin = second ? *second : -1;
    ssize_t count = real_copy_file_range(from, first, to, second, size, flags);
    wrote(to, begin, count);
    return count;
}
int ftruncate64(int fd, off_t size) {
    cut(fd, size);
    return real_ftruncate(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fsync(int fd) {
    int failed = real_fsync(fd);
    if (!failed) synced(fd);
    return failed;
}
int fdatasync(int fd) {
    int failed = real_fdatasync(fd);
    if (!failed) synced(fd);
    return failed;
}
