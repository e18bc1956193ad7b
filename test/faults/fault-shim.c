/*
 * Makes one system call of a process fail, for every-call.test.ts. Loaded with LD_PRELOAD.
 *
 * FAULT_PATH  only files below this folder count
 * FAULT_LOG   gets the name of each call that counts, a line each
 * FAULT       N:ERRNO    the Nth call fails with this number, and does nothing
 *             N:ERRNO:+  so does each after it: the disk is gone
 *             N:short    the Nth call reads or writes half of what it was asked for
 *
 * A process that opens "/fault/N:ERRNO" counts anew from there on, with that fault, and with "/fault/" no more.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum verdict { PASS, FAIL, SHORT };

static atomic_int call_count;

/* What the process asked for last; as long as it has asked for nothing, FAULT. */
static char asked[32];
static atomic_int has_asked;

static const char prefix[] = "/fault/";

static int ask(const char *path) {
  if (strncmp(path, prefix, sizeof prefix - 1) != 0) return 0;
  snprintf(asked, sizeof asked, "%s", path + sizeof prefix - 1);
  call_count = 0;
  has_asked = 1;
  errno = ENOENT;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int below(const char *path) {
  const char *folder = getenv("FAULT_PATH");
  return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_counts(const char *path) {
  char cwd[PATH_MAX];
  if (path[0] == '/') return below(path);
  return getcwd(cwd, sizeof cwd) != NULL && below(cwd);
}

static int fd_counts(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = REAL(syscall)(SYS_readlink, link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return below(path);
}

static enum verdict judge(const char *name) {
  if (has_asked && *asked == 0) return PASS;
  int number = ++call_count;
  const char *log = getenv("FAULT_LOG");
  if (log != NULL) {
    char line[64];
    int size = snprintf(line, sizeof line, "%s\n", name);
    int fd = REAL(syscall)(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (REAL(syscall)(SYS_write, fd, line, size) != size) abort();
    REAL(syscall)(SYS_close, fd);
  }
  const char *fault = has_asked ? asked : getenv("FAULT");
  char *rest;
  if (fault == NULL) return PASS;
  int wanted = strtol(fault, &rest, 10);
  if (strcmp(rest, ":short") == 0) return number == wanted ? SHORT : PASS;
  int error = strtol(rest + 1, &rest, 10);
  if (number != wanted && !(*rest != 0 && number > wanted)) return PASS;
  errno = error;
  return FAIL;
}

#define OPEN(name)                                                      \
  int name(const char *path, int flags, ...) {                          \
    va_list list;                                                       \
    va_start(list, flags);                                              \
    int mode = va_arg(list, int);                                       \
    va_end(list);                                                       \
    if (ask(path) || (path_counts(path) && judge("open") == FAIL)) return -1; \
    return REAL(name)(path, flags, mode);                               \
  }
OPEN(open)
OPEN(open64)

/* One buffer; `...` is what follows its size. */
#define MOVE(name, kind, type, params, ...)                             \
  ssize_t name params {                                                 \
    enum verdict verdict = fd_counts(fd) ? judge(kind) : PASS;          \
    if (verdict == FAIL) return -1;                                     \
    if (verdict == SHORT && size > 1) size /= 2;                        \
    return REAL(name)(fd, bytes, size __VA_OPT__(, ) __VA_ARGS__);      \
  }
MOVE(read, "read", void, (int fd, void *bytes, size_t size))
MOVE(pread, "read", void, (int fd, void *bytes, size_t size, off_t at), at)
MOVE(pread64, "read", void, (int fd, void *bytes, size_t size, off64_t at), at)
MOVE(write, "write", void, (int fd, const void *bytes, size_t size))
MOVE(pwrite, "write", void, (int fd, const void *bytes, size_t size, off_t at), at)
MOVE(pwrite64, "write", void, (int fd, const void *bytes, size_t size, off64_t at), at)

/* Several buffers: half of the first. */
#define MOVE_ALL(name, kind, params, ...)                               \
  ssize_t name params {                                                 \
    enum verdict verdict = fd_counts(fd) ? judge(kind) : PASS;          \
    if (verdict == FAIL) return -1;                                     \
    struct iovec half = pieces[0];                                      \
    if (half.iov_len > 1) half.iov_len /= 2;                            \
    if (verdict == SHORT) return REAL(name)(fd, &half, 1 __VA_OPT__(, ) __VA_ARGS__); \
    return REAL(name)(fd, pieces, count __VA_OPT__(, ) __VA_ARGS__);    \
  }
MOVE_ALL(readv, "read", (int fd, const struct iovec *pieces, int count))
MOVE_ALL(preadv, "read", (int fd, const struct iovec *pieces, int count, off_t at), at)
MOVE_ALL(preadv64, "read", (int fd, const struct iovec *pieces, int count, off64_t at), at)
MOVE_ALL(writev, "write", (int fd, const struct iovec *pieces, int count))
MOVE_ALL(pwritev, "write", (int fd, const struct iovec *pieces, int count, off_t at), at)
MOVE_ALL(pwritev64, "write", (int fd, const struct iovec *pieces, int count, off64_t at), at)

#define ON_FD(name, kind, params, ...)                                  \
  int name params {                                                     \
    if (fd_counts(fd) && judge(kind) == FAIL) return -1;                \
    return REAL(name)(fd __VA_OPT__(, ) __VA_ARGS__);                   \
  }
ON_FD(fsync, "sync", (int fd))
ON_FD(fdatasync, "sync", (int fd))
ON_FD(ftruncate, "truncate", (int fd, off_t size), size)
ON_FD(ftruncate64, "truncate", (int fd, off64_t size), size)
ON_FD(fchmod, "chmod", (int fd, mode_t mode), mode)

/* The descriptor is gone, whatever close says. */
int close(int fd) {
  enum verdict verdict = fd_counts(fd) ? judge("close") : PASS;
  int error = errno;
  int result = REAL(close)(fd);
  errno = verdict == FAIL ? error : errno;
  return verdict == FAIL ? -1 : result;
}

/* libuv closes and asks for metadata by number. */
long syscall(long number, ...) {
  long args[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) args[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_close) return close((int)args[0]);
  if (number == SYS_statx) {
    const char *path = (const char *)args[1];
    if ((path[0] == 0 ? fd_counts((int)args[0]) : path_counts(path)) && judge("stat") == FAIL) return -1;
  }
  return REAL(syscall)(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

int rename(const char *from, const char *to) {
  if (path_counts(to) && judge("rename") == FAIL) return -1;
  return REAL(rename)(from, to);
}

int unlink(const char *path) {
  if (path_counts(path) && judge("unlink") == FAIL) return -1;
  return REAL(unlink)(path);
}
