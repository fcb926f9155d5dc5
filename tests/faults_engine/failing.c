/* Preloaded into the engine under test: counts the calls that change a disk, and at one of them
 * kills the process or fails. Python, the floor and SQLite all go through libc, so all are seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls;
static long fail_at; /* 0: never */
static int fail_errno; /* 0: kill */
static const char *name_of_last = "";

void limpet_arm(long at, int error) {
    atomic_store(&calls, 0);
    fail_at = at;
    fail_errno = error;
}
long limpet_calls(void) { return atomic_load(&calls); }
const char *limpet_last(void) { return name_of_last; }

static int fails(const char *name) {
    long now = atomic_fetch_add(&calls, 1) + 1;
    if (now != fail_at) return 0;
    name_of_last = name;
    if (!fail_errno) kill(getpid(), SIGKILL);
    errno = fail_errno;
    return 1;
}

#define REAL(type, name, ...)                                  \
    static type (*real)(__VA_ARGS__);                          \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name);

ssize_t write(int fd, const void *data, size_t bytes) {
    REAL(ssize_t, "write", int, const void *, size_t)
    if (fd > 2 && fails("write")) return -1;
    return real(fd, data, bytes);
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)
    if (fails("pwrite")) return -1;
    return real(fd, data, bytes, at);
}
int fsync(int fd) {
    REAL(int, "fsync", int)
    return fails("fsync") ? -1 : real(fd);
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int)
    return fails("fdatasync") ? -1 : real(fd);
}
int syncfs(int fd) {
    REAL(int, "syncfs", int)
    return fails("syncfs") ? -1 : real(fd);
}
int rename(const char *one, const char *other) {
    REAL(int, "rename", const char *, const char *)
    return fails("rename") ? -1 : real(one, other);
}
int renameat(int a, const char *one, int b, const char *other) {
    REAL(int, "renameat", int, const char *, int, const char *)
    return fails("renameat") ? -1 : real(a, one, b, other);
}
int renameat2(int a, const char *one, int b, const char *other, unsigned flags) {
    REAL(int, "renameat2", int, const char *, int, const char *, unsigned)
    return fails("renameat2") ? -1 : real(a, one, b, other, flags);
}
int link(const char *one, const char *other) {
    REAL(int, "link", const char *, const char *)
    return fails("link") ? -1 : real(one, other);
}
int linkat(int a, const char *one, int b, const char *other, int flags) {
    REAL(int, "linkat", int, const char *, int, const char *, int)
    return fails("linkat") ? -1 : real(a, one, b, other, flags);
}
int symlinkat(const char *target, int fd, const char *name) {
    REAL(int, "symlinkat", const char *, int, const char *)
    return fails("symlinkat") ? -1 : real(target, fd, name);
}
int unlink(const char *path) {
    REAL(int, "unlink", const char *)
    return fails("unlink") ? -1 : real(path);
}
int unlinkat(int fd, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int)
    return fails("unlinkat") ? -1 : real(fd, path, flags);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t)
    return fails("mkdir") ? -1 : real(path, mode);
}
int mkdirat(int fd, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t)
    return fails("mkdirat") ? -1 : real(fd, path, mode);
}
int ftruncate64(int fd, off64_t bytes) {
    REAL(int, "ftruncate64", int, off64_t)
    return fails("ftruncate") ? -1 : real(fd, bytes);
}
int fchmod(int fd, mode_t mode) {
    REAL(int, "fchmod", int, mode_t)
    return fails("fchmod") ? -1 : real(fd, mode);
}
int futimens(int fd, const struct timespec times[2]) {
    REAL(int, "futimens", int, const struct timespec *)
    return fails("futimens") ? -1 : real(fd, times);
}
int openat64(int fd, const char *path, int flags, ...) {
    REAL(int, "openat64", int, const char *, int, ...)
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        if ((flags & O_CREAT) && fails("open")) return -1;
    }
    return real(fd, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    REAL(int, "open64", const char *, int, ...)
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        if ((flags & O_CREAT) && fails("open")) return -1;
    }
    return real(path, flags, mode);
}
int openat(int fd, const char *path, int flags, ...) {
    REAL(int, "openat", int, const char *, int, ...)
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
        if ((flags & O_CREAT) && fails("open")) return -1;
    }
    return real(fd, path, flags, mode);
}
