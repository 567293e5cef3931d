/* Writes down what a process does to the files below POWERCUT_ROOT, in order, so that a power cut at any point can be
 * played through afterwards. Loaded with LD_PRELOAD; glibc only.
 *
 * A record: operation (1 byte), file (8: its inode), number (8: an offset, a size, or of which sync), length of the first
 * and of the second byte string (4 each), the strings. Native byte order. Files are known by their inodes; a path tells
 * which directory entry is meant. One lock around each call and its record keeps the records in the order of the calls;
 * only a sync runs without it, and is written down when it begins and when it has ended.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, RMDIR, FOLDER };
#define FDS 65536

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *root;
static size_t root_length;
static int journal = -1;
static uint64_t syncs;
static unsigned char below[FDS]; /* which descriptors are files or folders below the root */

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t plain_write(int fd, const void *data, size_t size)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    return real(fd, data, size);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWERCUT_JOURNAL");
    static int (*real)(const char *, int, ...);
    real = dlsym(RTLD_NEXT, "open");
    root = getenv("POWERCUT_ROOT");
    if (!path || !root) return;
    root_length = strlen(root);
    journal = real(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void all(const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        ssize_t done = plain_write(journal, at, size);
        if (done < 0) { if (errno == EINTR) continue; abort(); }
        at += done;
        size -= done;
    }
}

static void record(int op, uint64_t file, uint64_t number, const void *a, uint32_t a_size, const void *b, uint32_t b_size)
{
    char head[25];
    int kept = errno;
    head[0] = (char)op;
    memcpy(head + 1, &file, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &a_size, 4);
    memcpy(head + 21, &b_size, 4);
    all(head, sizeof head);
    if (a_size) all(a, a_size);
    if (b_size) all(b, b_size);
    errno = kept;
}

static int is_below(const char *path)
{
    return journal >= 0 && path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int whole_path(int folder, const char *path, char *out)
{
    char link[64];
    ssize_t size;
    if (path[0] == '/') return snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
    if (folder == AT_FDCWD) {
        if (!getcwd(out, PATH_MAX)) return 0;
        size = strlen(out);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        size = readlink(link, out, PATH_MAX - 1);
        if (size < 0) return 0;
    }
    return snprintf(out + size, PATH_MAX - size, "/%s", path) < PATH_MAX - size;
}

static uint64_t inode_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) ? 0 : info.st_ino;
}

static int noted(int fd) { return journal >= 0 && fd >= 0 && fd < FDS && below[fd]; }

static int opened(int folder, const char *path, int flags, mode_t mode)
{
    static int (*real)(int, const char *, int, ...);
    char whole[PATH_MAX];
    struct stat info;
    int fd, existed, kept;
    if (!real) real = dlsym(RTLD_NEXT, "openat");
    if (journal < 0 || !whole_path(folder, path, whole) || !is_below(whole)) return real(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    existed = !stat(whole, &info);
    fd = real(folder, path, flags, mode);
    kept = errno;
    if (fd >= 0 && fd < FDS) {
        below[fd] = 1;
        if (!existed) record(CREATE, inode_of(fd), 0, whole, strlen(whole), NULL, 0);
        else if (S_ISDIR(info.st_mode)) record(FOLDER, info.st_ino, 0, whole, strlen(whole), NULL, 0);
        else if (flags & O_TRUNC && info.st_size) record(TRUNCATE, inode_of(fd), 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = kept;
    return fd;
}

#define MODE(flags) mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); \
    mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return opened(folder, path, flags, mode); }

int close(int fd)
{
    REAL(close);
    if (fd >= 0 && fd < FDS) below[fd] = 0;
    return real(fd);
}

int dup2(int from, int to)
{
    REAL(dup2);
    int done = real(from, to);
    if (done >= 0 && done < FDS) below[done] = noted(from);
    return done;
}

int dup3(int from, int to, int flags)
{
    REAL(dup3);
    int done = real(from, to, flags);
    if (done >= 0 && done < FDS) below[done] = noted(from);
    return done;
}

static ssize_t written(int fd, off_t offset, const void *data, ssize_t done)
{
    if (done > 0) record(WRITE, inode_of(fd), offset, data, done, NULL, 0);
    return done;
}

ssize_t write(int fd, const void *data, size_t size)
{
    ssize_t done;
    if (!noted(fd)) return plain_write(fd, data, size);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    done = plain_write(fd, data, size);
    done = written(fd, offset, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t placed(int fd, const void *data, size_t size, off_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    ssize_t done;
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (!noted(fd)) return real(fd, data, size, offset);
    pthread_mutex_lock(&lock);
    done = written(fd, offset, data, real(fd, data, size, offset));
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return placed(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return placed(fd, data, size, offset); }

static ssize_t gathered(int fd, const struct iovec *parts, int count, off_t offset)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    size_t size = 0, at = 0;
    ssize_t done;
    char *data;
    int i;
    if (!real) real = dlsym(RTLD_NEXT, "pwritev64");
    if (!noted(fd)) return real(fd, parts, count, offset);
    pthread_mutex_lock(&lock);
    done = real(fd, parts, count, offset);
    for (i = 0; i < count; i++) size += parts[i].iov_len;
    data = malloc(size ? size : 1);
    for (i = 0; i < count; i++) {
        memcpy(data + at, parts[i].iov_base, parts[i].iov_len);
        at += parts[i].iov_len;
    }
    done = written(fd, offset, data, done);
    free(data);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *p, int n, off_t at) { return gathered(fd, p, n, at); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off64_t at) { return gathered(fd, p, n, at); }
ssize_t pwritev2(int fd, const struct iovec *p, int n, off_t at, int flags) { (void)flags; return gathered(fd, p, n, at); }
ssize_t pwritev64v2(int fd, const struct iovec *p, int n, off64_t at, int flags)
{
    (void)flags;
    return gathered(fd, p, n, at);
}

static int cut(int fd, off_t size)
{
    static int (*real)(int, off_t);
    int done;
    if (!real) real = dlsym(RTLD_NEXT, "ftruncate64");
    if (!noted(fd)) return real(fd, size);
    pthread_mutex_lock(&lock);
    done = real(fd, size);
    if (!done) record(TRUNCATE, inode_of(fd), size, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int synced(int fd, int (*real)(int))
{
    uint64_t number, inode;
    int done;
    if (!noted(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    number = ++syncs;
    inode = inode_of(fd);
    record(SYNC_BEGIN, inode, number, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    done = real(fd);
    if (!done) {
        pthread_mutex_lock(&lock);
        record(SYNC_END, inode, number, NULL, 0, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return done;
}

int fsync(int fd) { REAL(fsync); return synced(fd, real); }
int fdatasync(int fd) { REAL(fdatasync); return synced(fd, real); }

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    REAL(renameat);
    char a[PATH_MAX], b[PATH_MAX];
    int done;
    if (!whole_path(from_folder, from, a) || !whole_path(to_folder, to, b) || !is_below(a))
        return real(from_folder, from, to_folder, to);
    pthread_mutex_lock(&lock);
    done = real(from_folder, from, to_folder, to);
    if (!done) record(RENAME, 0, 0, a, strlen(a), b, strlen(b));
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int folder, const char *path, int flags)
{
    REAL(unlinkat);
    char whole[PATH_MAX];
    int done;
    if (!whole_path(folder, path, whole) || !is_below(whole)) return real(folder, path, flags);
    pthread_mutex_lock(&lock);
    done = real(folder, path, flags);
    if (!done) record(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, whole, strlen(whole), NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    REAL(mkdirat);
    char whole[PATH_MAX];
    struct stat info;
    int done;
    if (!whole_path(folder, path, whole) || !is_below(whole)) return real(folder, path, mode);
    pthread_mutex_lock(&lock);
    done = real(folder, path, mode);
    if (!done) record(MKDIR, stat(whole, &info) ? 0 : info.st_ino, 0, whole, strlen(whole), NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
