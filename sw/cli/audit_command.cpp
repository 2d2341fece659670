// SPDX-License-Identifier: Apache-2.0
// `lastmile audit`: whether a journal is what it says it is.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "sw/app/audit.hpp"
#include "sw/base/error.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

json to_json(const AuditOutcome& o) {
  return {{"confirmed", o.confirmed},
          {"step", o.step ? json(*o.step) : json()},
          {"why", o.why},
          {"steps", o.steps},
          {"of", o.of},
          {"weights_checked", o.weights_checked},
          {"best_step", o.best_step ? json(*o.best_step) : json()},
          {"digest", o.digest.empty() ? json() : json(o.digest)},
          {"weights_hash", o.confirmed ? json(fmt::format("{:016x}", o.weights_hash)) : json()}};
}

// In lower case; the text of what is wrong, if anything is.
std::string sha256_digits(std::string& text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::size_t kDigits = 64;
  const bool good =
      text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
  return good ? std::string()
              : fmt::format("\"{}\" is not a SHA-256: expected 64 hexadecimal digits",
                            printable(text));
}

}  // namespace

Subcommand audit_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    RunOptions run;
    AuditOptions audit;
    std::filesystem::path base, result;
  };
  auto* sub = app.add_subcommand(
      "audit",
      "do every step of a journal again and confirm it, or name the first one that differs");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  sub->add_option("journal", s->audit.journal, "journal, best one that --audit-every made")
      ->required();
  sub->add_option("--base", s->base, "quantized network or int8 model the journal started from")
      ->required();
  sub->add_option("--speaker", s->run.speaker, "audio: the held-out speaker it adapted to (index)");
  sub->add_option("--steps", s->audit.steps, "only the first so many (default: all)");
  sub->add_option("--digest", s->audit.digest,
                  "the digest that `info` showed of the journal, from a source that you trust")
      ->transform(CLI::Validator(sha256_digits, ""));
  sub->add_option("--result", s->result, "network that the run is said to have ended in");
  return {
      sub, [s, backends] {
        settle(s->run, s->common);
        Files files;
        reads_task(files, s->run);
        files.reads("journal", s->audit.journal);
        files.reads("--base", s->base);
        files.reads("--result", s->result);
        files.writes(kWaveformOption, waveform_of(s->common));
        files.claim();
        const DeviceOpener open = find_backend(s->common, backends);
        use_network(s->run.task, "", s->base, s->common.say());
        const QuantizedNetwork base = load_integers(s->base);
        if (!s->result.empty()) s->audit.result = load_quantized(s->result);
        Task task = load_task(s->run.task);
        keep_normal(base.network, task);
        const Dataset train = adaptation_data(task, s->run).adapt;
        const AuditOutcome o =
            audit_journal(base, train, s->audit, open, s->run.adapt.fixed, s->common.progress());
        if (s->common.json) print_json(to_json(o));
        if (!o.confirmed) {
          const std::string where =
              o.step ? fmt::format("step {}", *o.step)
                     : std::string(o.steps == 0 ? "before step 0" : "after the last step");
          print_error(printable(fmt::format("lastmile: {}: refuted: {}: {}",
                                            s->audit.journal.string(), where, o.why)) +
                      "\n");
          return static_cast<int>(ErrorKind::mismatch);
        }
        if (!s->common.json)
          print_out("confirmed: {} of {} steps, weights compared {} times{}{}; weights {:016x}\n",
                    o.steps, o.of, o.weights_checked,
                    o.digest.empty() ? ", records are not chained" : "",
                    o.best_step ? fmt::format(", best step {}", *o.best_step) : "", o.weights_hash);
        return 0;
      }};
}

}  // namespace lastmile
