// SPDX-License-Identifier: Apache-2.0
// `lastmile info`: what this program is, and what is in a file it wrote.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmodel/spec/hardware.hpp"
#include "cmodel/spec/npu_identity.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/compiler/listing.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/golden/npz.hpp"
#include "sw/graph/assumed.hpp"
#include "sw/graph/reader.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/journal.hpp"
#include "sw/trainer/readout.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

struct State {
  CommonOptions common;
  std::filesystem::path file, journal;
  RunOptions run;
  bool listing = false, salvage = false;
};

json about(const CommonOptions& common) {
  return {{"contract", spec::kContract},
          {"spec", fmt::format("{:08x}", spec::kSpecHash)},
          {"hardware", parse_hardware(common.hardware)}};
}

json describe_network(const Network& n) {
  json layers = json::array();
  for (const Layer& l : n.layers)
    layers.push_back({{"name", l.name},
                      {"op", name_of(l.op)},
                      {"out", {l.out.h, l.out.w, l.out.c}},
                      {"weights", weight_count(l)},
                      {"macs", macs(l)}});
  return {{"network", n.name},
          {"input", {n.input.h, n.input.w, n.input.c}},
          {"loss", name_of(n.loss)},
          {n.reconstructs() ? "outputs" : "classes", n.classes},
          {"weights", weight_count(n)},
          {"macs", macs(n)},
          {"layers", layers}};
}

json describe(const State& s) {
  const std::string extension = s.file.extension().string();
  if (extension == ".lmq") {
    const QuantizedNetwork q = load_quantized(s.file);
    json j = describe_network(q.network);
    j["weight_type"] = name_of(q.weight_type);
    j["weights_hash"] = fmt::format("{:016x}", weights_hash(q));
    return j;
  }
  if (extension == ".lmj") {
    if (is_readout_journal(s.file)) {
      const ReadoutJournal r = read_readout_journal(s.file, s.salvage);
      warn_of_damage(s.file.string(), r.damage, r.file_bytes, r.valid_bytes);
      json steps = json::array();
      for (const ReadoutSnapshot& n : r.snapshots) steps.push_back(n.step);
      return {{"snapshots", steps},
              {"torn", r.torn},
              {"bytes", r.valid_bytes},
              {"digest", r.digest},
              {"damage", r.damage.empty() ? json() : json(r.damage)},
              {"rate", r.choice ? json(r.choice->rate) : json()},
              {"end", r.end ? json(*r.end) : json()},
              {"config", r.header}};
    }
    const Journal journal = read_journal(s.file, {.salvage = s.salvage});
    warn_of_damage(s.file.string(), journal.damage, journal.file_bytes, journal.valid_bytes);
    json j = to_json(journal.config);
    j.erase("base_digest");
    if (!journal.digest.empty()) j["digest"] = journal.digest;
    if (journal.config.hold_out != 0)
      j["best_step"] = journal.end ? json(journal.end->best_step) : json();
    j.update({{"steps", journal.records.size()},
              {"torn", journal.torn},
              {"bytes", journal.valid_bytes},
              {"damage", journal.damage.empty() ? json() : json(journal.damage)}});
    return j;
  }
  if (extension == ".lmc") {
    const CheckpointContents c = describe_checkpoint(read_file(s.file), s.file.string());
    json tensors = json::array();
    for (const CheckpointContents::Tensor& t : c.tensors)
      tensors.push_back({{"name", t.name}, {"shape", t.shape}});
    return {{"network", c.network},
            {"fingerprint", fmt::format("{:016x}", c.fingerprint)},
            {"tensors", tensors}};
  }
  if (extension == ".npz") {
    json tensors = json::array();
    for (const NpzShape& t : npz_shapes(read_file(s.file), s.file.string()))
      tensors.push_back({{"name", t.name}, {"shape", t.shape}});
    return {{"tensors", tensors}};
  }
  if (is_model_file(s.file)) {
    const ImportedModel m = load_model(s.file);
    json j = describe_network(m.network);
    j.update({{"type", m.quantized ? "int8" : "float"}, {"notes", m.notes}});
    return j;
  }
  if (extension == ".toml") {
    const AssumedTask task = assumed_task(s.file.string());
    json j = describe_network(read_network(s.file.string(), task.shape));
    if (!task.said.empty()) {
      j["assumed"] = task.said;
      if (const Say say = s.common.say()) say("note: " + task.said);
    }
    return j;
  }
  throw Error(ErrorKind::usage,
              fmt::format("{}: expected a .lmc, .npz, .lmq, .lmj, .toml, .onnx or .tflite file",
                          s.file.string()));
}

}  // namespace

Subcommand info_command(CLI::App& app) {
  auto* sub = app.add_subcommand("info",
                                 "version and hardware parameters, or what is in float weights, a "
                                 "quantized network, a journal or a network description");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("file", s->file,
                  ".lmc, .npz, .lmq, .lmj, .onnx, .tflite or .toml (what it leaves to the task is "
                  "taken as 28 x "
                  "28 x 1 and 10 classes)");
  sub->add_flag(
      "--listing", s->listing,
      "with a .lmq: the compiled command stream and memory map of a training step of all layers");
  sub->add_option("--journal", s->journal,
                  "with --listing: journal of forward gradients that began there, whose "
                  "perturbations and steps are shown");
  add_salvage(*sub, s->salvage);
  add_adapt(*sub, s->run);
  return {sub, [s] {
            if (s->listing) {
              if (s->file.extension() != ".lmq")
                throw Error(ErrorKind::usage, "--listing needs a .lmq file");
              if (s->common.json)
                throw Error(ErrorKind::usage, "--listing is for people, expected no --json");
              settle(s->run, s->common);
              const QuantizedNetwork q = load_quantized(s->file);
              CompileOptions o;
              o.batch = s->run.adapt.forward.batch;
              o.distribution = s->run.adapt.fixed.distribution;
              AdaptOptions adapt = s->run.adapt;
              // The unit curvature is measured on data: without them or a journal nobody knows.
              bool known = adapt.unit == AmplitudeUnit::rms;
              adapt.unit = AmplitudeUnit::rms;
              if (record_layer(q.network) >= 0) {
                o.readout = ReadoutTraining{1, 0};  // the step, too
                known = true;
              } else if (!s->journal.empty()) {
                const RunConfig run =
                    read_journal(s->journal, {.records = 0, .salvage = s->salvage}).config;
                require_same_base(s->journal.string(), run, q);
                o.training = run.tensors;
                o.distribution = run.distribution;
                o.batch = run.forward.batch;
                known = true;
              } else {
                o.training = plan_training(q, adapt, {}, {});
              }
              if (const Say say = s->common.say(); say && !known)
                say("note: perturbations and steps are measured on data when an adaptation begins "
                    "(--unit curvature): --journal shows those of a run, --unit rms those of that "
                    "unit");
              print_out("{}",
                        listing(compile(q, s->run.adapt.fixed.hardware, o), q.network, known));
              return 0;
            }
            print_json(s->file.empty() ? about(s->common) : describe(*s));
            return 0;
          }};
}

}  // namespace lastmile
