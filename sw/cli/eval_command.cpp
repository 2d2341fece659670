// SPDX-License-Identifier: Apache-2.0
// `lastmile eval`: how good a network is on the data of a task.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "sw/app/origin.hpp"
#include "sw/app/ranges.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/accuracy_text.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/golden/npz.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

struct State {
  CommonOptions common;
  RunOptions run;
  std::filesystem::path input, predictions;
};

// What is looked at: integers, or a float network with its weights.
struct Evaluated {
  Network network;
  FloatParams<float> params;
  std::optional<QuantizedNetwork> integers;
};

std::filesystem::path evaluated_file(const State& s) {
  return s.input.empty() ? std::filesystem::path(s.run.network) : s.input;
}

Evaluated evaluated(const State& s, const Task& task) {
  const std::filesystem::path path = evaluated_file(s);
  if (is_model_file(path)) {
    NetworkSource m = load_source(path.string(), shape_of(task));
    if (const Say say = s.common.say())
      for (const std::string& note : m.notes) say(fmt::format("note: {}: {}", m.name, note));
    if (m.integers) {
      Task normal = task;
      keep_normal(m.network, normal);
      m.integers =
          with_difference(std::move(*m.integers), normal, s.run.quantize, s.common.thread_count());
    }
    return {std::move(m.network), std::move(*m.params), std::move(m.integers)};
  }
  if (!is_weights_file(path)) return {{}, {}, load_quantized(path)};
  Network network = load_source(s.run.network, shape_of(task)).network;
  FloatParams<float> params = load_weights(path, network);
  require_origin(network, params, task, path);
  return {std::move(network), std::move(params), {}};
}

// One field of a line of CSV (RFC 4180).
std::string csv(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

// `reconstructs`: the network predicts no class, its error is what there is to say.
std::string predictions_csv(const Task& task, const Dataset& data, bool reconstructs,
                            const std::vector<Prediction>& predictions) {
  std::string out = task.labelled ? "example,label" : "example";
  out += reconstructs ? ",squared_error\n" : ",predicted,confidence\n";
  const auto name = [&](std::size_t k) { return csv(task.class_names.at(k)); };
  const bool named = task.shifted_files.size() == predictions.size();
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    out += named ? csv(task.shifted_files[i]) : std::to_string(i);
    if (task.labelled) out += "," + name(data.y[i]);
    out += reconstructs
               ? fmt::format(",{:.6g}\n", predictions[i].confidence)
               : fmt::format(",{},{:.6f}\n", name(static_cast<std::size_t>(predictions[i].label)),
                             predictions[i].confidence);
  }
  return out;
}

// How often each class was predicted, which is all there is to say without labels.
std::vector<std::int64_t> counts_of(const std::vector<Prediction>& predictions,
                                    std::size_t classes) {
  std::vector<std::int64_t> counts(classes);
  for (const Prediction& p : predictions) ++counts.at(static_cast<std::size_t>(p.label));
  return counts;
}

}  // namespace

Subcommand eval_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand("eval",
                                 "accuracy of a quantized network (.lmq), of float weights "
                                 "(.lmc, .npz) or of a model (.onnx, .tflite) on both domains of a "
                                 "task; of a --target without labels what it predicts");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_saturation(*sub, s->run);
  sub->add_option("--speaker", s->run.speaker,
                  "audio: the shifted test is this held-out speaker's");
  sub->add_option("--input", s->input,
                  "what to evaluate: .lmq, .lmc or .npz (weights of --network), .onnx or .tflite "
                  "(default: the model that --network names)");
  sub->add_option("--predictions", s->predictions,
                  ".csv to write: what is predicted of each example of the shifted test, and how "
                  "confidently");
  return {
      sub, [s, backends] {
        settle(s->run, s->common);
        Files files;
        reads_task(files, s->run);
        files.reads("--input", s->input);
        files.writes("--predictions", s->predictions);
        files.writes(kWaveformOption, waveform_of(s->common));
        files.claim();
        require_weights(s->input, "--input", s->run.network);
        use_network(s->run.task, s->run.network, s->input, s->common.say());
        s->run.task.labels_optional = true;
        const Task task = load_task(s->run.task);
        say_data(task, s->common.say());
        const Dataset shifted =
            s->run.speaker ? adaptation_data(task, s->run).test : task.shifted_test;
        const bool with_source = task.source_test.size() != 0;
        Accuracy source, moved;
        std::vector<Prediction> predictions;
        std::vector<TensorFit> source_fit, shifted_fit;  // of integers
        const Evaluated e = evaluated(*s, task);
        if (!e.integers) {
          const Golden<float> golden(e.network, s->common.thread_count());
          if (with_source) source = evaluate_float(golden, e.params, task.source_test);
          moved = evaluate_float(golden, e.params, shifted, &predictions);
        } else {
          const QuantizedNetwork& q = *e.integers;
          const DeviceOpener open = find_backend(s->common, backends);
          const FixedOptions& fixed = s->run.adapt.fixed;
          if (with_source) {
            source = evaluate_fixed(q, task.source_test, open, fixed);
            require_class_order(source, task, evaluated_file(*s));
            source_fit = range_fit_of(q, task.source_test, s->common.thread_count());
          }
          moved = evaluate_fixed(q, shifted, open, fixed, &predictions);
          shifted_fit = range_fit_of(q, shifted, s->common.thread_count());
        }
        if (!s->predictions.empty())
          write_file_atomic(s->predictions,
                            predictions_csv(task, shifted, moved.reconstruction, predictions));
        const std::vector<std::int64_t> counts = counts_of(predictions, task.class_names.size());
        if (s->common.json) {
          json j = {{"classes", task.class_names},
                    {"data", {{"name", task.name}, {"shift", task.shift}, {"split", task.split}}}};
          if (with_source) j["source"] = accuracy_json(source);
          j["shifted"] = task.labelled || moved.reconstruction
                             ? accuracy_json(moved)
                             : json{{"examples", shifted.size()}, {"predicted", counts}};
          if (e.integers) {
            j["range_fit"] = {{"shifted", fit_json(shifted_fit)}};
            if (with_source) j["range_fit"]["source"] = fit_json(source_fit);
          }
          print_json(j);
          return 0;
        }
        if (e.integers) {
          if (with_source)
            print_out("{}\n", fit_text(source_fit, "source test", s->run.saturation_warn));
          print_out("{}\n", fit_text(shifted_fit, "shifted test", s->run.saturation_warn));
        }
        if (!task.labelled && !moved.reconstruction) {
          print_out("{} examples without labels; predicted:\n", shifted.size());
          for (std::size_t k = 0; k < counts.size(); ++k)
            print_out("  {:<20}  {}\n", printable(task.class_names[k], 80), counts[k]);
          return 0;
        }
        std::vector<std::pair<const char*, const Accuracy*>> both;
        if (with_source) both.emplace_back("source", &source);
        both.emplace_back(with_source ? "shifted" : "target", &moved);
        print_out("{}", classes_text(task, both));
        if (with_source)
          print_out("source {}, shifted {}\n", accuracy_text(source), accuracy_text(moved));
        else
          print_out("target {}\n", accuracy_text(moved));
        return 0;
      }};
}

}  // namespace lastmile
