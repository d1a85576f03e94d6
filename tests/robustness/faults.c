/* Stands before the C library and makes the N-th call that changes the file system fail, or be the process's last.
 *   FAULT_AT=N    which call; FAULT_AT=0 only counts
 *   FAULT=kill    SIGKILL before the call; =after: after it; =ENOSPC, =EIO: it fails so
 *   FAULT_SHORT=1 a write that fails writes half of what it was given first
 *   FAULT_COUNT=F the number of calls goes to the file F at exit
 * Calls that count: open with O_CREAT, write, pwrite, fsync, fdatasync, close of what was written, rename, renameat, mkdir, ftruncate. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int count;
static unsigned char ours[1024]; /* descriptors of files that were opened to be written */

static void* next(const char* name) { return dlsym(RTLD_NEXT, name); }

__attribute__((destructor)) static void tell(void) {
  const char* path = getenv("FAULT_COUNT");
  FILE* file = path ? fopen(path, "w") : NULL;
  if (file == NULL) return;
  fprintf(file, "%d\n", count);
  fclose(file);
}

enum { GO, FAIL, LAST };
static int turn(void) {
  const char* at = getenv("FAULT_AT");
  const char* fault = getenv("FAULT");
  if (++count != (at ? atoi(at) : 0) || fault == NULL) return GO;
  if (strcmp(fault, "kill") == 0) kill(getpid(), SIGKILL);
  if (strcmp(fault, "after") == 0) return LAST;
  errno = strcmp(fault, "EIO") == 0 ? EIO : ENOSPC;
  return FAIL;
}
static void end(int what) {
  if (what == LAST) kill(getpid(), SIGKILL);
}

static int opened(const char* name, const char* path, int flags, mode_t mode) {
  int (*real)(const char*, int, ...);
  *(void**)&real = next(name);
  const int writes = (flags & O_CREAT) != 0 && strncmp(path, "/dev/", 5) != 0;
  const int what = writes ? turn() : GO;
  if (what == FAIL) return -1;
  const int descriptor = real(path, flags, mode);
  if (writes && descriptor >= 0 && descriptor < (int)sizeof ours) ours[descriptor] = 1;
  end(what);
  return descriptor;
}
#define OPEN(NAME)                                \
  int NAME(const char* path, int flags, ...) {    \
    va_list list;                                 \
    va_start(list, flags);                        \
    const mode_t mode = va_arg(list, unsigned);   \
    va_end(list);                                 \
    return opened(#NAME, path, flags, mode);      \
  }
OPEN(open)
OPEN(open64)

static int is_ours(int descriptor) { return descriptor >= 0 && descriptor < (int)sizeof ours && ours[descriptor]; }

ssize_t write(int descriptor, const void* bytes, size_t size) {
  ssize_t (*real)(int, const void*, size_t);
  *(void**)&real = next("write");
  if (!is_ours(descriptor)) return real(descriptor, bytes, size);
  const int what = turn();
  if (what == FAIL) {
    const int error = errno;
    if (getenv("FAULT_SHORT") != NULL && size > 1) (void)!real(descriptor, bytes, size / 2);
    errno = error;
    return -1;
  }
  const ssize_t written = real(descriptor, bytes, what == LAST && size > 1 ? size / 2 : size);
  end(what);
  return written;
}
ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t at) {
  ssize_t (*real)(int, const void*, size_t, off_t);
  *(void**)&real = next("pwrite");
  const int what = is_ours(descriptor) ? turn() : GO;
  if (what == FAIL) return -1;
  const ssize_t written = real(descriptor, bytes, size, at);
  end(what);
  return written;
}
#define ONE(NAME)                              \
  int NAME(int descriptor) {                   \
    int (*real)(int);                          \
    *(void**)&real = next(#NAME);              \
    const int what = turn();                   \
    if (what == FAIL) return -1;               \
    const int done = real(descriptor);         \
    end(what);                                 \
    return done;                               \
  }
ONE(fsync)
ONE(fdatasync)
int close(int descriptor) {
  int (*real)(int);
  *(void**)&real = next("close");
  if (!is_ours(descriptor)) return real(descriptor);
  ours[descriptor] = 0;
  const int what = turn();
  const int error = errno;
  const int done = real(descriptor); /* a failed close closes */
  end(what);
  if (what == FAIL) errno = error;
  return what == FAIL ? -1 : done;
}
int rename(const char* from, const char* to) {
  int (*real)(const char*, const char*);
  *(void**)&real = next("rename");
  const int what = turn();
  if (what == FAIL) return -1;
  const int done = real(from, to);
  end(what);
  return done;
}
int mkdir(const char* path, mode_t mode) {
  int (*real)(const char*, mode_t);
  *(void**)&real = next("mkdir");
  const int what = turn();
  if (what == FAIL) return -1;
  const int done = real(path, mode);
  end(what);
  return done;
}
int ftruncate(int descriptor, off_t size) {
  int (*real)(int, off_t);
  *(void**)&real = next("ftruncate");
  const int what = turn();
  if (what == FAIL) return -1;
  const int done = real(descriptor, size);
  end(what);
  return done;
}
