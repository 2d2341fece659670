// SPDX-License-Identifier: Apache-2.0
#include "sw/base/streams.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <limits>
#include <string>

#include "sw/base/text.hpp"

namespace lastmile {
namespace {

// The stream of results: stdout, or its copy once stdout is everybody's.
std::FILE*& results() {
  static std::FILE* stream = stdout;
  return stream;
}

void write_all(std::FILE* to, std::string_view text) {
  const std::string safe = printable(text, std::numeric_limits<std::size_t>::max(), true);
  // The stream remembers a failure (ferror); there is nobody to tell it to here.
  static_cast<void>(std::fwrite(safe.data(), 1, safe.size(), to));
}

}  // namespace

void secure_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free number is this one. Results that are written to a closed stdout are an error
    // as they were (the descriptor only reads); messages vanish.
    const int opened = ::open("/dev/null", fd == 1 ? O_RDONLY : O_WRONLY);
    if (opened >= 0 && opened != fd) ::close(opened);
  }
  struct sigaction action = {};
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, nullptr);
  // A file beyond the limit of its size is EFBIG, which is told and leaves nothing half done.
  ::sigaction(SIGXFSZ, &action, nullptr);
}

void keep_stdout_for_results() {
  std::fflush(stdout);
  const int copy = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  std::FILE* const stream = copy < 0 ? nullptr : ::fdopen(copy, "w");
  if (stream == nullptr || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) return;
  results() = stream;
}

void print_error(std::string_view text) {
  write_all(stderr, text);
  std::fflush(stderr);
}

void warn(std::string_view text) { print_error("lastmile: warning: " + printable(text) + "\n"); }

void print_result(std::string_view text) { write_all(results(), text); }

int result_descriptor() { return ::fileno(results()); }

bool results_lost() { return std::fflush(results()) != 0 || std::ferror(results()) != 0; }

}  // namespace lastmile
