// SPDX-License-Identifier: Apache-2.0
// `lastmile data`: what is in data sets, and what is wrong with them.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "sw/base/error.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/data/describe.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

struct State {
  CommonOptions common;
  std::vector<std::filesystem::path> paths;
  CollectionOptions how;
};

json count_json(const std::map<int, std::size_t>& counts) {
  json out = json::object();
  for (const auto& [value, n] : counts) out[std::to_string(value)] = n;
  return out;
}

json to_json(const std::filesystem::path& path, const SetDescription& d) {
  json parts = json::array(), channels = json::array();
  for (const SetDescription::Part& p : d.parts)
    parts.push_back({{"name", p.name}, {"examples", p.examples}, {"per_class", p.per_class}});
  for (const SetDescription::Channel& c : d.channels)
    channels.push_back(
        {{"low", c.low}, {"high", c.high}, {"mean", c.mean}, {"deviation", c.deviation}});
  json j = {{"path", path.string()},
            {"format", d.format.empty() ? json() : json(d.format)},
            {"labelled", d.labelled},
            {"classes", d.class_names},
            {"parts", parts},
            {"values", channels},
            {"network_gets", d.network_gets},
            {"notes", d.notes},
            {"problems", d.problems}};
  if (d.most.h != 0)
    j["shape"] = {{"least", {d.least.h, d.least.w, d.least.c}},
                  {"most", {d.most.h, d.most.w, d.most.c}}};
  if (!d.rates.empty())
    j["sound"] = {{"rates", count_json(d.rates)},
                  {"channels", count_json(d.sound_channels)},
                  {"shortest_seconds", d.shortest},
                  {"longest_seconds", d.longest},
                  {"speakers", d.speakers}};
  return j;
}

std::string to_text(const std::filesystem::path& path, const SetDescription& d) {
  std::string out;
  const auto line = [&](const char* what, const std::string& text) {
    out += fmt::format("  {:<16} {}\n", what, text);
  };
  std::size_t examples = 0;
  for (const SetDescription::Part& p : d.parts) examples += p.examples;
  out += fmt::format("{}: {}, {} examples", printable(path.string(), 400),
                     d.format.empty() ? "not known" : d.format, examples);
  out += d.labelled ? fmt::format(" of {} classes\n", d.class_names.size())
                    : std::string(" without labels\n");
  const auto row = [&](const std::string& head, const auto& cell) {
    out += fmt::format("  {:<16}", head);
    for (const SetDescription::Part& p : d.parts) out += fmt::format(" {:>9}", cell(p));
    out += '\n';
  };
  if (!d.parts.empty()) {
    row("part", [](const auto& p) { return p.name; });
    row("examples", [](const auto& p) { return std::to_string(p.examples); });
    if (d.labelled)
      for (std::size_t k = 0; k < d.class_names.size(); ++k)
        row("  " + printable(d.class_names[k], 40), [&](const SetDescription::Part& p) {
          return std::to_string(k < p.per_class.size() ? p.per_class[k] : 0);
        });
  }
  if (d.most.h != 0 && d.least == d.most)
    line("shape", fmt::format("{} x {} x {}", d.most.h, d.most.w, d.most.c));
  else if (d.most.h != 0)
    line("shape", fmt::format("{} x {} x {} to {} x {} x {}", d.least.h, d.least.w, d.least.c,
                              d.most.h, d.most.w, d.most.c));
  for (const auto& [rate, n] : d.rates) line("rate", fmt::format("{} Hz: {} files", rate, n));
  for (const auto& [channels, n] : d.sound_channels)
    line("channels", fmt::format("{}: {} files", channels, n));
  if (!d.rates.empty())
    line("clips", fmt::format("{:.3f} to {:.3f} s{}", d.shortest, d.longest,
                              d.speakers == 0 ? "" : fmt::format(", {} speakers", d.speakers)));
  for (std::size_t c = 0; c < d.channels.size(); ++c) {
    const SetDescription::Channel& v = d.channels[c];
    line("values", fmt::format("{}{:.4g} to {:.4g}, mean {:.4f}, deviation {:.4f}",
                               d.channels.size() == 1 ? "" : fmt::format("channel {}: ", c), v.low,
                               v.high, v.mean, v.deviation));
  }
  if (!d.network_gets.empty()) line("a network gets", d.network_gets);
  for (const std::string& note : d.notes) line("note", printable(note));
  constexpr std::size_t kMostShown = 50;
  for (std::size_t i = 0; i < std::min(d.problems.size(), kMostShown); ++i)
    line("problem", printable(d.problems[i], kMessageLimit, true));
  if (d.problems.size() > kMostShown)
    line("problem", fmt::format("and {} more (--json has all)", d.problems.size() - kMostShown));
  return out;
}

}  // namespace

Subcommand data_command(CLI::App& app) {
  auto* sub = app.add_subcommand(
      "data",
      "what is in data sets: format, shapes, examples per class, values, what a network would get, "
      "and every file that cannot be read (then the exit code is 3)");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("path", s->paths, "folders or files, as --data takes them")->required();
  sub->add_option_function<std::string>(
         "--features",
         [s](const std::string& name) {
           s->how.features.kind = name == "mfcc" ? FeatureKind::mfcc : FeatureKind::log_mel;
         },
         "audio front end")
      ->check(CLI::IsMember({"logmel", "mfcc"}))
      ->default_str("logmel");
  sub->add_option_function<std::string>(
         "--layout",
         [s](const std::string& name) {
           s->how.layout = name == "nhwc" ? Layout::nhwc : Layout::nchw;
         },
         "of arrays with four dimensions: nhwc or nchw (default: that which fits)")
      ->check(CLI::IsMember({"nhwc", "nchw"}));
  return {sub, [s] {
            s->how.threads = s->common.thread_count();
            bool sound = true;
            json all = json::array();
            for (const std::filesystem::path& path : s->paths) {
              const SetDescription d = describe_set(path, s->how);
              sound = sound && d.problems.empty();
              if (s->common.json)
                all.push_back(to_json(path, d));
              else
                print_out("{}", to_text(path, d));
            }
            if (s->common.json) print_json({{"sets", all}});
            return sound ? 0 : static_cast<int>(ErrorKind::input);
          }};
}

}  // namespace lastmile
