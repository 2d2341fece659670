// SPDX-License-Identifier: Apache-2.0
// Another program that runs the same networks, as a process that is asked for forward passes and
// says how much CPU time they took. So peers are measured in the same run, in turn with the model.
#pragma once

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace lastmile::bench {

class Peer {
 public:
  explicit Peer(const std::vector<std::string>& command) {
    int to[2], from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) throw std::runtime_error("no pipe");
    std::vector<char*> words;
    for (const std::string& w : command) words.push_back(const_cast<char*>(w.c_str()));
    words.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(to[0], 0);
      ::dup2(from[1], 1);
      for (const int fd : {to[0], to[1], from[0], from[1]}) ::close(fd);
      ::execvp(words[0], words.data());
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    ask_ = ::fdopen(to[1], "w");
    answer_ = ::fdopen(from[0], "r");
    const std::string first = line();
    present_ = first.rfind("ready ", 0) == 0;
    const std::size_t space = first.find(' ');
    says_ = space == std::string::npos ? "it could not be started" : first.substr(space + 1);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    std::fclose(ask_);
    std::fclose(answer_);
    ::waitpid(child_, nullptr, 0);
  }

  [[nodiscard]] bool present() const { return present_; }
  // Its name and version, or why it is absent.
  [[nodiscard]] const std::string& says() const { return says_; }
  // CPU seconds of `calls` forward passes.
  double seconds(const std::string& network, int calls) {
    std::fprintf(ask_, "%s %d\n", network.c_str(), calls);
    std::fflush(ask_);
    const std::string text = line();
    if (text.empty()) throw std::runtime_error(says_ + " ended");
    return std::stod(text);
  }

 private:
  std::string line() {
    std::string text;
    for (int c = std::fgetc(answer_); c != EOF && c != '\n'; c = std::fgetc(answer_))
      text.push_back(static_cast<char>(c));
    return text;
  }
  pid_t child_ = 0;
  std::FILE *ask_ = nullptr, *answer_ = nullptr;
  bool present_ = false;
  std::string says_;
};

}  // namespace lastmile::bench
