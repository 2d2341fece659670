/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded by chaos.py: from the LASTMILE_FAULT_AT-th call on that changes a file, LASTMILE_FAULT_COUNT of them fail
 * with LASTMILE_FAULT_ERRNO; of a write half is done first. Standard streams are left alone, and
 * stderr is told of the first failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long number(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text != NULL ? strtol(text, NULL, 10) : otherwise;
}

static int strikes(void) {
  static long at = -1, count = 0, error = 0, calls = 0;
  if (at < 0) {
    at = number("LASTMILE_FAULT_AT", 0);
    count = number("LASTMILE_FAULT_COUNT", 1);
    error = number("LASTMILE_FAULT_ERRNO", EIO);
  }
  ++calls;
  if (at == 0 || calls < at || calls >= at + count) return 0;
  static const char text[] = "io_faults: a call fails\n";
  if (calls == at && syscall(SYS_write, 2, text, sizeof text - 1) < 0) abort();
  errno = (int)error;
  return 1;
}

static int is_file(int fd) {
  struct stat st;
  return fd > 2 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t write(int fd, const void* bytes, size_t count) {
  static ssize_t (*real)(int, const void*, size_t);
  if (real == NULL) real = (ssize_t(*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  if (is_file(fd) && strikes()) {
    const int error = errno;
    if (count > 1) (void)real(fd, bytes, count / 2);
    errno = error;
    return -1;
  }
  return real(fd, bytes, count);
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return is_file(fd) && strikes() ? -1 : real(fd);
}

int fdatasync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return is_file(fd) && strikes() ? -1 : real(fd);
}

/* A lock and a part of a file are emptied; the text of a lock is for messages: no failure. */
int ftruncate(int fd, off_t length) {
  static int (*real)(int, off_t);
  if (real == NULL) real = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
  return length != 0 && is_file(fd) && strikes() ? -1 : real(fd, length);
}

int rename(const char* from, const char* to) {
  static int (*real)(const char*, const char*);
  if (real == NULL) real = (int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename");
  return strikes() ? -1 : real(from, to);
}
