/* The least that a machine can do: `floor walk FOLDER` looks at every entry once, in one thread;
 * `floor create FROM INTO` reads a tree into memory, makes its folders, and then, in two threads and
 * on the clock, only creates its files. Prints seconds. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct file {
    int folder;
    char *name;
    char *data;
    size_t size;
    struct timespec mtime;
};

static struct file *files;
static size_t count, room, entries;
static int *folders;
static size_t folder_count, folder_room;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int is_dots(const char *name) {
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static void walk(int fd) {
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    if (!folder) die("fdopendir");
    while ((entry = readdir(folder))) {
        struct stat s;
        if (is_dots(entry->d_name)) continue;
        if (fstatat(fd, entry->d_name, &s, AT_SYMLINK_NOFOLLOW)) die(entry->d_name);
        entries++;
        if (S_ISDIR(s.st_mode)) {
            int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (below < 0) die(entry->d_name);
            walk(below);
        }
    }
    closedir(folder);
}

static void take(int from, const char *name, const struct stat *s, int into) {
    int fd = openat(from, name, O_RDONLY);
    if (fd < 0) die(name);
    if (count == room) files = realloc(files, (room = room ? 2 * room : 4096) * sizeof *files);
    struct file *file = &files[count++];
    file->folder = into;
    file->name = strdup(name);
    file->size = (size_t)s->st_size;
    file->mtime = s->st_mtim;
    file->data = malloc(file->size ? file->size : 1);
    for (size_t got = 0; got < file->size;) {
        ssize_t n = read(fd, file->data + got, file->size - got);
        if (n <= 0) die("read");
        got += (size_t)n;
    }
    close(fd);
}

static void load(int from, int into) {
    DIR *folder = fdopendir(from);
    struct dirent *entry;
    if (!folder) die("fdopendir");
    if (folder_count == folder_room)
        folders = realloc(folders, (folder_room = folder_room ? 2 * folder_room : 512) * sizeof *folders);
    folders[folder_count++] = into;
    while ((entry = readdir(folder))) {
        struct stat s;
        if (is_dots(entry->d_name)) continue;
        if (fstatat(from, entry->d_name, &s, AT_SYMLINK_NOFOLLOW)) die(entry->d_name);
        if (S_ISREG(s.st_mode)) take(from, entry->d_name, &s, into);
        if (!S_ISDIR(s.st_mode)) continue;
        int below = openat(from, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (mkdirat(into, entry->d_name, 0755)) die(entry->d_name);
        int made = openat(into, entry->d_name, O_RDONLY | O_DIRECTORY);
        if (below < 0 || made < 0) die(entry->d_name);
        load(below, made);
    }
    closedir(folder);
}

/* What the files will need was used just before, as it was for every tool that is timed: memory that
 * a host has to give first is no part of a floor. Reading the tree has used what was there. */
static void warm(int into) {
    static const char block[1 << 20];
    size_t most = 64 << 20;
    int fd = openat(into, "ballast", O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0) die("ballast");
    for (size_t i = 0; i < count; i++) most += files[i].size + 4096;
    for (size_t put = 0; put < most; put += sizeof block)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block) die("ballast");
    close(fd);
    if (unlinkat(into, "ballast", 0)) die("ballast");
}

static void *create(void *which) {
    size_t half = count / 2, first = which ? half : 0, end = which ? count : half;
    for (size_t i = first; i < end; i++) {
        struct file *file = &files[i];
        int fd = openat(file->folder, file->name, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0) die(file->name);
        for (size_t put = 0; put < file->size;) {
            ssize_t n = write(fd, file->data + put, file->size - put);
            if (n <= 0) die("write");
            put += (size_t)n;
        }
        struct timespec times[2] = {file->mtime, file->mtime};
        futimens(fd, times);
        close(fd);
    }
    return NULL;
}

int main(int argc, char **argv) {
    double started;
    if (argc == 3 && !strcmp(argv[1], "walk")) {
        started = now();
        walk(open(argv[2], O_RDONLY | O_DIRECTORY));
        printf("%.6f\n", now() - started);
        return 0;
    }
    if (argc != 4 || strcmp(argv[1], "create")) return 2;
    if (mkdir(argv[3], 0755)) die(argv[3]);
    load(open(argv[2], O_RDONLY | O_DIRECTORY), open(argv[3], O_RDONLY | O_DIRECTORY));
    warm(folders[0]);
    pthread_t one, other;
    started = now();
    pthread_create(&one, NULL, create, NULL);
    pthread_create(&other, NULL, create, (void *)1);
    pthread_join(one, NULL);
    pthread_join(other, NULL);
    printf("%.6f\n", now() - started);
    return 0;
}
