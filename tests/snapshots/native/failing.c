/* System calls that fail as a bad disk, a full quota or a signal makes them fail: preloaded into a
 * process that uses the floor (test_failing.py). A file's name says what happens to it. Reads and
 * writes of files named "slow" give three bytes at a time and are interrupted every other time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char named[1024][16]; /* what each descriptor was opened as */

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))
#define IS(fd, what) (fd >= 0 && fd < 1024 && !strcmp(named[fd], what))

static int fails(int error) {
    errno = error;
    return -1;
}

int openat(int folder, const char *name, int flags, ...) {
    static int opened;
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!strcmp(name, "slow") && opened++ % 2 == 0) return fails(EINTR);
    int fd = REAL(openat)(folder, name, flags, mode);
    if (fd >= 0 && fd < 1024) strncpy(named[fd], name, sizeof named[fd] - 1);
    return fd;
}

int openat64(int folder, const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return openat(folder, name, flags, mode);
}

int close(int fd) {
    int bad = IS(fd, "bad-close");
    if (fd >= 0 && fd < 1024) memset(named[fd], 0, sizeof named[fd]);
    int result = REAL(close)(fd);
    return bad ? fails(EDQUOT) : result;
}

int fstatat(int folder, const char *restrict name, struct stat *restrict out, int flags) {
    if (!strcmp(name, "bad-look")) return fails(EIO);
    if (!strcmp(name, "gone-look")) return fails(ENOENT);
    return REAL(fstatat)(folder, name, out, flags);
}

int fstatat64(int folder, const char *restrict name, struct stat64 *restrict out, int flags) {
    return fstatat(folder, name, (struct stat *)out, flags);
}

ssize_t read(int fd, void *into, size_t bytes) {
    static int turn;
    if (IS(fd, "bad-read")) return fails(EIO);
    if (!IS(fd, "slow")) return REAL(read)(fd, into, bytes);
    if (turn++ % 2 == 0) return fails(EINTR);
    return REAL(read)(fd, into, bytes < 3 ? bytes : 3);
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
    if (count != 1) return REAL(readv)(fd, parts, count);
    return read(fd, parts->iov_base, parts->iov_len);
}

ssize_t write(int fd, const void *from, size_t bytes) {
    static int turn;
    if (IS(fd, "bad-write")) return REAL(write)(fd, from, bytes / 2) < 0 ? -1 : fails(ENOSPC);
    if (IS(fd, "no-write")) return 0;
    if (!IS(fd, "slow")) return REAL(write)(fd, from, bytes);
    if (turn++ % 2 == 0) return fails(EINTR);
    return REAL(write)(fd, from, bytes < 3 ? bytes : 3);
}

int futimens(int fd, const struct timespec times[2]) {
    return IS(fd, "bad-time") ? fails(EPERM) : REAL(futimens)(fd, times);
}

int fchmod(int fd, mode_t mode) {
    return IS(fd, "bad-mode") ? fails(EPERM) : REAL(fchmod)(fd, mode);
}
