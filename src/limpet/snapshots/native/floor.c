/* The floor: list a folder, read small files, make files, hash blobs. No policy, no parsing, no allocation
 * that outlives a call; names and buffers were validated by who calls (compiled.py). Loaded with
 * ctypes, so every call runs without Python's lock. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#ifndef O_NOATIME
#define O_NOATIME 0
#endif
#ifdef __APPLE__
#define MTIM st_mtimespec
#define CTIM st_ctimespec
#define LISTXATTR(fd) flistxattr(fd, NULL, 0, 0)
#else
#define MTIM st_mtim
#define CTIM st_ctim
#define LISTXATTR(fd) flistxattr(fd, NULL, 0)
#endif

#include "hashes.h"

#define EXPORT __attribute__((visibility("default")))

/* Counts up whenever a call below changes what it takes, so that compiled.py, which knows the same
 * number, never calls into a library that was built from another floor.c. */
EXPORT extern const uint32_t limpet_floor;
const uint32_t limpet_floor = 4;

#define HEADER 58
#define CHANGED (-1)
#define LOOKS 01777

/* A time beyond what 64 bits of ns hold comes as the nearest that they do. */
static int64_t ns(struct timespec t) {
    int64_t all;
    if (__builtin_mul_overflow((int64_t)t.tv_sec, INT64_C(1000000000), &all) ||
        __builtin_add_overflow(all, (int64_t)t.tv_nsec, &all))
        return t.tv_sec < 0 ? INT64_MIN : INT64_MAX;
    return all;
}

static int same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* As openat, again when a signal comes meanwhile (FUSE, NFS). */
static int open_in(int folder, const char *name, int flags, mode_t mode) {
    int fd;
    do fd = openat(folder, name, flags, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

struct listing {
    uint8_t *records;
    uint64_t length;
    uint8_t *errors; /* i32 errno, u16 length, name */
    uint64_t errors_length;
};

struct name {
    char *text;
    uint16_t length;
};

static int by_name(const void *one, const void *other) {
    const struct name *a = one, *b = other;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->text, b->text, shorter);
    return order ? order : (int)a->length - (int)b->length;
}

static void put(uint8_t **at, const void *value, size_t bytes) {
    memcpy(*at, value, bytes);
    *at += bytes;
}

/* 0, or an errno. What it gives is given back with limpet_free. */
EXPORT int limpet_scan(int fd, struct listing *out) {
    memset(out, 0, sizeof *out);
    int own = open_in(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (own < 0) return errno;
    DIR *folder = fdopendir(own);
    if (!folder) {
        int error = errno;
        close(own);
        return error;
    }
    struct name *names = NULL;
    size_t count = 0, room = 0, bytes = 0, text_used = 0, text_room = 0;
    char *text = NULL;
    int error = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            error = errno;
            break;
        }
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]))) continue;
        size_t length = strlen(name);
        if (count == room) {
            room = room ? 2 * room : 64;
            struct name *more = realloc(names, room * sizeof *names);
            if (!more) { error = ENOMEM; break; }
            names = more;
        }
        if (text_used + length + 1 > text_room) {
            text_room = 2 * (text_room + length + 1) + 4096;
            char *more = realloc(text, text_room);
            if (!more) { error = ENOMEM; break; }
            text = more;
        }
        memcpy(text + text_used, name, length + 1);
        names[count].text = (char *)(uintptr_t)text_used; /* an offset until text stays put */
        names[count].length = (uint16_t)length;
        count++;
        text_used += length + 1;
        bytes += HEADER + length;
    }
    for (size_t i = 0; i < count; i++) names[i].text = text + (uintptr_t)names[i].text;
    if (!error && count) {
        qsort(names, count, sizeof *names, by_name);
        out->records = malloc(bytes);
        out->errors = malloc(bytes);
        if (!out->records || !out->errors) error = ENOMEM;
    }
    if (!error && count) {
        uint8_t *at = out->records, *told = out->errors;
        for (size_t i = 0; i < count; i++) {
            struct stat s;
            if (fstatat(dirfd(folder), names[i].text, &s, AT_SYMLINK_NOFOLLOW)) {
                if (errno == ENOENT) continue;
                int32_t why = errno;
                put(&told, &why, 4);
                put(&told, &names[i].length, 2);
                put(&told, names[i].text, names[i].length);
                continue;
            }
            uint32_t mode = s.st_mode, nlink = (uint32_t)s.st_nlink;
            uint64_t dev = s.st_dev, ino = s.st_ino, size = s.st_size, blocks = s.st_blocks;
            int64_t mtime = ns(s.MTIM), ctime_ = ns(s.CTIM);
            put(&at, &mode, 4);
            put(&at, &nlink, 4);
            put(&at, &dev, 8);
            put(&at, &ino, 8);
            put(&at, &size, 8);
            put(&at, &mtime, 8);
            put(&at, &ctime_, 8);
            put(&at, &blocks, 8);
            put(&at, &names[i].length, 2);
            put(&at, names[i].text, names[i].length);
        }
        out->length = (uint64_t)(at - out->records);
        out->errors_length = (uint64_t)(told - out->errors);
    }
    free(names);
    free(text);
    closedir(folder);
    if (error) {
        free(out->records);
        free(out->errors);
        memset(out, 0, sizeof *out);
    }
    return error;
}

EXPORT void limpet_free(struct listing *out) {
    free(out->records);
    free(out->errors);
    memset(out, 0, sizeof *out);
}

#define MAX_CHAIN 64
#define MAX_NAME 255

/* Folders open on the way to one; each is where the path has come at `end`. */
struct chain {
    int fds[MAX_CHAIN];
    size_t ends[MAX_CHAIN];
    int depth;
    const char *path;
};

static int below(const char *path, const char *above, size_t end) {
    return !strncmp(path, above, end) && (path[end] == '/' || !path[end]);
}

/* The folder at a relative path, or -1; no link is followed to it. It belongs to the chain. */
static int follow(struct chain *c, int root, const char *path) {
    while (c->depth && !below(path, c->path, c->ends[c->depth - 1])) close(c->fds[--c->depth]);
    c->path = path;
    size_t at = c->depth ? c->ends[c->depth - 1] : 0;
    int fd = c->depth ? c->fds[c->depth - 1] : root;
    while (path[at]) {
        char name[MAX_NAME + 1];
        if (c->depth) at++; /* the slash */
        size_t length = strcspn(path + at, "/");
        if (!length || length > MAX_NAME || c->depth == MAX_CHAIN) return -1;
        memcpy(name, path + at, length);
        name[length] = 0;
        if (!strcmp(name, ".") || !strcmp(name, "..")) return -1;
        fd = open_in(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
        if (fd < 0) return -1;
        at += length;
        c->fds[c->depth] = fd;
        c->ends[c->depth++] = at;
    }
    return fd;
}

/* Which folders are listed as they were: 1 for those, 0 for all others. Every path ends with a NUL,
 * and neighbours are best near each other. A row begins with the place and length of the listing
 * in `data`: u64, u32. */
EXPORT void limpet_compare(int root, uint64_t count, const char *paths, const uint8_t *rows,
                           uint64_t stride, const uint8_t *data, uint64_t size, uint8_t *same) {
    struct chain chain = {.depth = 0, .path = ""};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at;
        uint32_t length;
        memcpy(&at, rows + i * stride, 8);
        memcpy(&length, rows + i * stride + 8, 4);
        int fd = follow(&chain, root, paths);
        paths += strlen(paths) + 1;
        struct listing now;
        same[i] = 0;
        if (fd < 0 || at > size || length > size - at || limpet_scan(fd, &now)) continue;
        same[i] = !now.errors_length && now.length == length &&
                  (!length || !memcmp(now.records, data + at, length));
        limpet_free(&now);
    }
    while (chain.depth) close(chain.fds[--chain.depth]);
}

struct read_columns {
    uint64_t *lengths;
    int32_t *errnos;
    int64_t *mtimes;
    int64_t *ctimes;
    uint64_t *inos;
    uint32_t *modes;
    uint32_t *nlinks;
    uint8_t *xattrs;
};

static int read_one(int folder, const char *name, uint8_t *data, uint64_t size,
                    struct read_columns *c, uint64_t i) {
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = open_in(folder, name, flags | O_NOATIME, 0);
    if (fd < 0 && errno == EPERM) fd = open_in(folder, name, flags, 0); /* not our file */
    if (fd < 0) return errno;
    int result = CHANGED;
    struct stat before, after;
    if (fstat(fd, &before)) {
        result = errno;
        goto end;
    }
    if (!S_ISREG(before.st_mode) || (uint64_t)before.st_size != size) goto end;
    for (uint64_t got = 0; got < size;) {
        ssize_t n = read(fd, data + got, size - got);
        if (n < 0) {
            if (errno == EINTR) continue;
            result = errno;
            goto end;
        }
        if (n == 0) goto end;
        got += (uint64_t)n;
    }
    if (fstat(fd, &after)) {
        result = errno;
        goto end;
    }
    c->mtimes[i] = ns(after.MTIM);
    c->ctimes[i] = ns(after.CTIM);
    c->inos[i] = after.st_ino;
    c->modes[i] = after.st_mode;
    c->nlinks[i] = (uint32_t)after.st_nlink;
    c->xattrs[i] = LISTXATTR(fd) > 0;
    if (same_time(before.MTIM, after.MTIM) && same_time(before.CTIM, after.CTIM) &&
        (uint64_t)after.st_size == size)
        result = 0;
end:
    close(fd);
    return result;
}

/* Files of any folders into one buffer. `folders[i]` is where file i lies. */
EXPORT void limpet_read(uint64_t count, const int32_t *folders, const char *names,
                        const uint64_t *sizes, const uint64_t *offsets, uint8_t *data,
                        struct read_columns *columns) {
    for (uint64_t i = 0; i < count; i++) {
        int result = read_one(folders[i], names, data + offsets[i], sizes[i], columns, i);
        columns->errnos[i] = result;
        if (result == 0) columns->lengths[i] = sizes[i];
        names += strlen(names) + 1;
    }
}

/* 0, or ENOMEM. 32 bytes of BLAKE3 for each blob. */
EXPORT int limpet_hash(uint64_t count, const uint8_t *data, const uint64_t *offsets,
                       const uint64_t *lengths, uint8_t *hashes) {
    return hash_all(count, data, offsets, lengths, hashes);
}

/* Columns of files that are to be made, by number: every name ends with a NUL. */
struct new_files {
    const char *names;
    const uint32_t *starts;
    const uint64_t *sizes;
    const uint16_t *modes;
    const int64_t *mtimes;
};

static int write_one(int folder, const char *name, const uint8_t *data, uint64_t length,
                     uint32_t mode, int64_t mtime) {
    int fd = open_in(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     (mode_t)(mode & 0777));
    if (fd < 0) return errno;
    int error = 0;
    while (length && !error) {
        ssize_t n = write(fd, data, length);
        if (n <= 0) {
            if (n == 0) error = EIO; /* would never end */
            else if (errno != EINTR) error = errno;
            continue;
        }
        data += n;
        length -= (uint64_t)n;
    }
    struct timespec times[2];
    times[0].tv_sec = mtime / 1000000000;
    times[0].tv_nsec = mtime % 1000000000;
    if (times[0].tv_nsec < 0) {
        times[0].tv_sec--;
        times[0].tv_nsec += 1000000000;
    }
    times[1] = times[0];
    struct stat s;
    if (!error && futimens(fd, times)) error = errno;
    if (!error && fstat(fd, &s)) error = errno;
    if (!error && (s.st_mode & 07777) != mode && fchmod(fd, (mode_t)mode)) error = errno;
    if (close(fd) && !error) error = errno;
    if (error) unlinkat(folder, name, 0);
    return error;
}

EXPORT void limpet_write(uint64_t count, const uint32_t *files, const int32_t *folders,
                         const uint64_t *offsets, const struct new_files *of, const uint8_t *data,
                         int32_t *errnos) {
    int failed = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t file = files[i];
        errnos[i] = failed ? ECANCELED
                           : write_one(folders[i], of->names + of->starts[file], data + offsets[i],
                                       of->sizes[file], of->modes[file] & LOOKS, of->mtimes[file]);
        failed |= errnos[i] != 0;
    }
}
