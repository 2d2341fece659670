// SPDX-License-Identifier: Apache-2.0
#include "sw/app/run_state.hpp"

#include <fmt/format.h>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/trainer/run_config.hpp"

namespace lastmile {

using nlohmann::json;

namespace {

// Digest of a file's content; null without one.
json content_digest(const std::filesystem::path& path) {
  if (kind_of(path) != FileKind::file) return {};
  return fmt::format("{:016x}", xxh64(read_file(path)));
}

}  // namespace

std::string file_word(const std::string& name) {
  constexpr std::size_t kMost = 64;
  std::string out;
  for (const char c : name.substr(0, kMost)) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.' || c == '=';
    out += plain ? c : '_';
  }
  // Two names must not become one.
  return out == name ? out : fmt::format("{}-{:016x}", out, xxh64(bytes_of(std::span(name))));
}

RunState::RunState(const RunOptions& o, const Task& task, const std::vector<Domain>& domains)
    : path_(o.out / kRunState),
      wanted_({{"settings", o.settings},
               {"data_digest", data_digest(task.pretrain)},
               {"inputs",
                {{"the network file", content_digest(o.network)},
                 {"the checkpoint", content_digest(o.checkpoint)},
                 {"the test of the source", data_digest(task.source_test)}}},
               {"kept", json::object()}}) {
  for (const Domain& d : domains) {
    wanted_["domains"].push_back(domains.size() == 1 ? "" : "-" + file_word(d.name));
    const std::string of = " (" + file_word(d.name) + ")";
    wanted_["inputs"]["the examples to adapt on" + of] = data_digest(d.train);
    wanted_["inputs"]["the test" + of] = data_digest(d.test);
  }
  const bool known = kind_of(path_) == FileKind::file;
  json found;
  if (known) found = json::parse(read_text_file(path_), nullptr, false);
  if (known && o.resume) {
    require_same(found);
    wanted_["kept"] = found.at("kept");
    if (found.contains("complete")) wanted_["complete"] = found["complete"];
    continues_ = true;
    return;
  }
  if (o.resume)
    for (const char* file : {"quantized.lmq", "journal.lmj", "readout.lmj", "both.lmj"})
      if (kind_of(o.out / file) == FileKind::file)
        throw Error(ErrorKind::journal,
                    fmt::format("{}: it has {} but no {}: what run it is of is not known; "
                                "expected --overwrite, or another folder",
                                o.out.string(), file, kRunState));
  // Of a run whose folder was made before there were such files, too: a kill would leave its
  // weights beside this run's state.
  if (known || kind_of(o.out / "quantized.lmq") == FileKind::file) remove_old(o, found);
  write();
}

bool RunState::has(const std::filesystem::path& file) const {
  const std::string name = file.filename().string();
  if (!continues_ || kind_of(file) != FileKind::file || !wanted_["kept"].contains(name))
    return false;
  if (content_digest(file) != wanted_["kept"][name])
    throw Error(ErrorKind::journal, fmt::format("{}: it is not what this run wrote; expected "
                                                "--overwrite, or another folder",
                                                file.string()));
  return true;
}

void RunState::write() const { write_file_atomic(path_, json_text(wanted_, 1) + "\n"); }

void RunState::kept(const std::filesystem::path& file) {
  wanted_["kept"][file.filename().string()] = content_digest(file);
  write();
}

void RunState::complete(const std::filesystem::path& report,
                        const std::vector<std::string>& diverged) {
  wanted_["complete"] = {
      {"report", content_digest(report)}, {"diverged", diverged}, {"files", digests()}};
  write();
}

std::optional<RunOutcome> RunState::outcome(const std::filesystem::path& report) const {
  if (!continues_ || !wanted_.contains("complete") || kind_of(report) != FileKind::file)
    return std::nullopt;
  const json& done = wanted_["complete"];
  if (!done.is_object() || content_digest(report) != done.value("report", json()) ||
      digests() != done.value("files", json()))
    return std::nullopt;
  return RunOutcome{json::parse(read_text_file(report)),
                    done.value("diverged", std::vector<std::string>())};
}

void RunState::require_same(const json& found) const {
  const json wanted = json::parse(json_text(wanted_));
  const auto same = [&](const char* key) {
    return found.is_object() && found.contains(key) && found[key] == wanted[key];
  };
  if (found.is_object() && found.contains("settings") && !found.contains("kept"))
    throw Error(ErrorKind::journal, fmt::format("{}: of an older program, which kept no digests "
                                                "of its files; expected --overwrite, or another "
                                                "folder",
                                                path_.string()));
  if (same("settings") && same("data_digest") && same("inputs") && found["kept"].is_object())
    return;
  const auto value = [](const json& j, const std::string& key) {
    return j.is_object() && j.contains("settings") && j["settings"].is_object() &&
                   j["settings"].contains(key)
               ? json_text(j["settings"][key])
               : std::string("not given");
  };
  std::vector<std::string> keys;
  for (const json* j : {&wanted_, &found})
    if (j->is_object() && j->contains("settings") && (*j)["settings"].is_object())
      for (const auto& item : (*j)["settings"].items()) keys.push_back(item.key());
  for (const std::string& key : keys)
    if (value(wanted_, key) != value(found, key))
      throw Error(ErrorKind::journal,
                  fmt::format("{}: it is of another run: --{} is {}, expected {}", path_.string(),
                              key, value(found, key), value(wanted_, key)));
  for (const auto& [what, digest] : wanted["inputs"].items())
    if (same("data_digest") && found.contains("inputs") && found["inputs"].is_object() &&
        (!found["inputs"].contains(what) || found["inputs"][what] != digest))
      throw Error(
          ErrorKind::journal,
          fmt::format("{}: it is of another run: {} has another content", path_.string(), what));
  throw Error(ErrorKind::journal, fmt::format("{}: it is of a run on other data", path_.string()));
}

std::vector<std::string> RunState::names_of(const json& state) {
  std::vector<std::string> names = {"quantized.lmq", "float.lmc"};
  std::vector<std::string> domains = {""};
  if (state.is_object() && state.contains("domains") && state["domains"].is_array())
    for (const json& d : state["domains"])
      if (d.is_string()) domains.push_back(file_word(d.get<std::string>()));
  for (const std::string& d : domains)
    for (const char* kind : {"journal{}.lmj", "readout{}.lmj", "both{}.lmj", "adapted{}.lmq",
                             "statistics{}.lmq", "readout{}.lmq", "both{}.lmq"})
      names.push_back(fmt::format(fmt::runtime(kind), d));
  return names;
}

json RunState::digests() const {
  json out = json::object();
  for (const std::string& name : names_of(wanted_))
    out[name] = content_digest(path_.parent_path() / name);
  return out;
}

void RunState::remove_old(const RunOptions& o, const json& found) const {
  std::vector<std::string> names = names_of(wanted_);
  for (const std::string& name : names_of(found)) names.push_back(name);
  if (!o.checkpoint.empty()) std::erase(names, "float.lmc");
  for (const std::string& name : names)
    if (kind_of(o.out / name) == FileKind::file) std::filesystem::remove(o.out / name);
}

}  // namespace lastmile
