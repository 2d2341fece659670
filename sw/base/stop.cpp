// SPDX-License-Identifier: Apache-2.0
#include "sw/base/stop.hpp"

#include <csignal>

namespace lastmile {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

// What a signal handler may touch is global by nature.
volatile std::sig_atomic_t g_received = 0;

void note(int signal) { g_received = signal; }

void set(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | (handler == note ? SA_RESETHAND : 0);
  for (const int s : kSignals) {
    struct sigaction old = {};
    // Who started the program with a signal ignored (nohup) meant it.
    if (::sigaction(s, nullptr, &old) == 0 && old.sa_handler != SIG_IGN)
      ::sigaction(s, &action, nullptr);
  }
}

}  // namespace

StopSignals::StopSignals() {
  g_received = 0;
  set(note);
}
StopSignals::~StopSignals() {
  set(SIG_DFL);
  g_received = 0;
}

int stop_signal() { return g_received; }

Stopped::Stopped(int signal, const std::string& where)
    : std::runtime_error(where), signal_(signal) {}

void stop_if_asked() {
  if (const int signal = stop_signal(); signal != 0) throw Stopped(signal, "");
}

}  // namespace lastmile
