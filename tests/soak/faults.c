/* A disk that fails: preloaded, it makes one call that changes a file below a folder fail.
 *
 * faults_arm() says which one; before that, and in other folders, all calls go through. Calls are
 * counted from 1. Modes: ONCE, ALWAYS (this one and all later ones), HALF (half of a write is
 * written, then all fail). On a full disk (ENOSPC) files can still be opened, cut and deleted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ONCE, ALWAYS, HALF };

static char folder[PATH_MAX];
static long count, at = -1;
static int error, mode;

void faults_arm(const char *below, long number, int code, int how)
{
    strncpy(folder, below, sizeof folder - 1);
    count = 0, at = number, error = code, mode = how;
}

long faults_count(void) { return count; }

static int is_below(const char *path)
{
    size_t length = strlen(folder);
    return length && !strncmp(path, folder, length) && (path[length] == '/' || !path[length]);
}

static int fails(const char *path, int deletes)
{
    if (!is_below(path))
        return 0;
    long number = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (at < 1 || number < at || (mode == ONCE && number > at))
        return 0;
    if (deletes && error == ENOSPC)
        return 0;
    errno = error;
    return 1;
}

static int fails_at(int base, const char *path, int deletes)
{
    char whole[2 * PATH_MAX], link[64];
    ssize_t length = 0;
    int before = errno;
    if (path[0] == '/')
        return fails(path, deletes);
    if (base == AT_FDCWD) {
        if (!getcwd(whole, PATH_MAX))
            return 0;
        length = strlen(whole);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", base);
        length = readlink(link, whole, PATH_MAX);
        errno = before;
        if (length < 0)
            return 0;
    }
    snprintf(whole + length, PATH_MAX, "/%s", path);
    return fails(whole, deletes);
}

static int file_fails(int file, int deletes)
{
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path, deletes);
}

#define REAL(name, kind, ...)                          \
    static kind (*real)(__VA_ARGS__);                  \
    if (!real)                                         \
        real = (kind (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

#define OPEN(name)                                                         \
    int name(const char *path, int flags, ...)                             \
    {                                                                      \
        REAL(name, int, const char *, int, ...);                           \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        int rights = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest);                                                      \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC) && fails_at(AT_FDCWD, path, !access(path, F_OK))) \
            return -1;                                                     \
        return real(path, flags, rights);                                  \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                       \
    int name(int base, const char *path, int flags, ...)                   \
    {                                                                      \
        REAL(name, int, int, const char *, int, ...);                      \
        va_list rest;                                                      \
        va_start(rest, flags);                                             \
        int rights = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest);                                                      \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC) && fails_at(base, path, !faccessat(base, path, F_OK, 0))) \
            return -1;                                                     \
        return real(base, path, flags, rights);                            \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                        \
    FILE *name(const char *path, const char *how)                          \
    {                                                                      \
        REAL(name, FILE *, const char *, const char *);                    \
        if (strpbrk(how, "wa+") && fails_at(AT_FDCWD, path, 0))            \
            return NULL;                                                   \
        return real(path, how);                                            \
    }
FOPEN(fopen)
FOPEN(fopen64)

size_t fwrite(const void *data, size_t size, size_t pieces, FILE *file)
{
    REAL(fwrite, size_t, const void *, size_t, size_t, FILE *);
    return file_fails(fileno(file), 0) ? 0 : real(data, size, pieces, file);
}

ssize_t write(int file, const void *data, size_t size)
{
    REAL(write, ssize_t, int, const void *, size_t);
    if (!file_fails(file, 0))
        return real(file, data, size);
    return mode == HALF && count == at && size > 1 ? real(file, data, size / 2) : -1;
}

#define PWRITE(name)                                                       \
    ssize_t name(int file, const void *data, size_t size, off_t from)      \
    {                                                                      \
        REAL(name, ssize_t, int, const void *, size_t, off_t);             \
        if (!file_fails(file, 0))                                          \
            return real(file, data, size, from);                           \
        return mode == HALF && count == at && size > 1 ? real(file, data, size / 2, from) : -1; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int file, const struct iovec *parts, int pieces)
{
    REAL(writev, ssize_t, int, const struct iovec *, int);
    if (!file_fails(file, 0))
        return real(file, parts, pieces);
    return mode == HALF && count == at && pieces > 1 ? real(file, parts, pieces / 2) : -1;
}

#define SENDFILE(name)                                                     \
    ssize_t name(int into, int from, off_t *start, size_t size)            \
    {                                                                      \
        REAL(name, ssize_t, int, int, off_t *, size_t);                    \
        if (!file_fails(into, 0))                                          \
            return real(into, from, start, size);                          \
        return mode == HALF && count == at ? real(into, from, start, 4096) : -1; \
    }
SENDFILE(sendfile)
SENDFILE(sendfile64)

ssize_t copy_file_range(int from, off_t *start, int into, off_t *to, size_t size, unsigned flags)
{
    REAL(copy_file_range, ssize_t, int, off_t *, int, off_t *, size_t, unsigned);
    return file_fails(into, 0) ? -1 : real(from, start, into, to, size, flags);
}

/* The disk itself is not waited for: what a process wrote, others see, and no machine fails here. */
#define ON_FILE(name)                                                      \
    int name(int file)                                                     \
    {                                                                      \
        return file_fails(file, 0) ? -1 : 0;                               \
    }
ON_FILE(fsync)
ON_FILE(fdatasync)

#define TRUNCATE(name)                                                     \
    int name(int file, off_t size)                                         \
    {                                                                      \
        REAL(name, int, int, off_t);                                       \
        return file_fails(file, 1) ? -1 : real(file, size);                \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define ON_PATH(name, deletes)                                             \
    int name(const char *path)                                             \
    {                                                                      \
        REAL(name, int, const char *);                                     \
        return fails_at(AT_FDCWD, path, deletes) ? -1 : real(path);        \
    }
ON_PATH(unlink, 1)
ON_PATH(rmdir, 1)
ON_PATH(remove, 1)

int unlinkat(int base, const char *path, int flags)
{
    REAL(unlinkat, int, int, const char *, int);
    return fails_at(base, path, 1) ? -1 : real(base, path, flags);
}

int mkdir(const char *path, mode_t rights)
{
    REAL(mkdir, int, const char *, mode_t);
    return fails_at(AT_FDCWD, path, 0) ? -1 : real(path, rights);
}

int mkdirat(int base, const char *path, mode_t rights)
{
    REAL(mkdirat, int, int, const char *, mode_t);
    return fails_at(base, path, 0) ? -1 : real(base, path, rights);
}

#define TWO_PATHS(name)                                                    \
    int name(const char *from, const char *to)                             \
    {                                                                      \
        REAL(name, int, const char *, const char *);                       \
        return fails_at(AT_FDCWD, to, 0) ? -1 : real(from, to);            \
    }
TWO_PATHS(rename)
TWO_PATHS(link)
TWO_PATHS(symlink)

int renameat(int from_base, const char *from, int base, const char *to)
{
    REAL(renameat, int, int, const char *, int, const char *);
    return fails_at(base, to, 0) ? -1 : real(from_base, from, base, to);
}
