// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "cmodel/spec/hardware.hpp"
#include "cmodel/spec/settings.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/number.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/streams.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/help.hpp"
#include "sw/data/collection.hpp"
#include "sw/import/model.hpp"

namespace lastmile {
namespace {

// An option whose values have names. (CLI11's own transformer cannot print an enum that has a
// to_string of its own.)
template <class T>
void choice(CLI::App& app, const std::string& option, T& value,
            const std::map<std::string, T>& names, const std::string& help) {
  std::vector<std::string> allowed;
  std::string current;
  for (const auto& [text, v] : names) {
    allowed.push_back(text);
    if (v == value) current = text;
  }
  app.add_option_function<std::string>(
         option, [&value, names](const std::string& text) { value = names.at(text); }, help)
      ->check(CLI::IsMember(allowed))
      ->default_str(current);
}

// "w8", "w16" or "w8,head=w16,...".
void parse_weights(const std::string& text, QuantizeOptions& q) {
  const auto bad = [&](const std::string& part) {
    throw CLI::ValidationError(
        "--weights", fmt::format("\"{}\", expected w8 or w16, then layer=w8 or layer=w16", part));
  };
  const auto width = [&](const std::string& name, const std::string& part) {
    if (name != "w8" && name != "w16") bad(part);
    return name == "w8" ? WeightType::w8 : WeightType::w16;
  };
  q.layer_weights.clear();
  bool first = true;
  for (const std::string& part : CLI::detail::split(text, ',')) {
    const std::size_t equals = part.find('=');
    if (first != (equals == std::string::npos)) bad(part);
    if (first)
      q.weight_type = width(part, part);
    else
      q.layer_weights[part.substr(0, equals)] = width(part.substr(equals + 1), part);
    first = false;
  }
}

// "ROWSxCOLUMNS" or "ROWSxCOLUMNSxCHANNELS"; 0 channels: not said.
Shape parse_size(const std::string& text) {
  const std::vector<std::string> parts = CLI::detail::split(text, 'x');
  Shape s;
  const std::vector<int*> to = {&s.h, &s.w, &s.c};
  bool good = parts.size() == 2 || parts.size() == 3;
  for (std::size_t i = 0; good && i < parts.size(); ++i) {
    const auto value = parse_integer<int>(parts[i]);
    good = value && *value >= 1 && *value <= (i < 2 ? 4096 : 3) && *value != (i < 2 ? 0 : 2);
    if (good) *to[i] = *value;
  }
  if (!good)
    throw CLI::ValidationError(
        "--size",
        fmt::format("\"{}\", expected ROWSxCOLUMNS of 1 to 4096, or with x1 or x3", text));
  return s;
}

}  // namespace

Say CommonOptions::say() const {
  if (quiet) return {};
  return [](const std::string& text) { print_error(printable(text) + "\n"); };
}
ProgressOptions CommonOptions::progress() const {
  ProgressOptions p;
  p.enabled = !quiet;
  return p;
}
int CommonOptions::thread_count() const { return threads > 0 ? threads : default_threads(); }

void add_common(CLI::App& app, CommonOptions& o) {
  const OptionGroup group(app, "Common to all commands");
  app.add_option("--seed", o.seed, "seed of everything random")->capture_default_str();
  app.add_option("--threads", o.threads, "threads; never changes a result (0: all of the machine)")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_flag("--json", o.json, "one JSON document on stdout, nothing else");
  app.add_flag("--quiet", o.quiet, "no progress and no remarks on stderr");
  app.add_option("--backend", o.backend,
                 "what executes: cmodel (the C++ model), or another that was built, such as rtl")
      ->capture_default_str();
  app.add_option("--backend-options", o.backend_options,
                 "of the backend, name=value,...: latency (20 cycles from an address to its first "
                 "beat), bandwidth (bytes per cycle and direction, 0: the bus), stall (per cent of "
                 "the cycles); of rtl more, see sim/README.md");
  app.add_option("--hardware", o.hardware,
                 "parameters of the NPU, name=value,... (rows, cols, bus_bytes, act_bytes, "
                 "acc_depth, rq_lanes)");
}

void add_task(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Data and network");
  app.add_option("--data", o.task.data,
                 "data set, split in itself: a folder of pictures or sounds by class, IDX, .npz, "
                 ".npy, or audio with an index.csv (default: drawn digits)");
  app.add_option("--source", o.task.source, "the same as --data: what is pre-trained on");
  app.add_option("--target", o.task.target,
                 "data set of the domain that is met: adaptation and its test (default: a part of "
                 "the source, shifted); alone with a trained network");
  app.add_option("--shift", o.task.shift,
                 "domain shift of images, such as rotate=25,noise=0.1, or none (with --target: on "
                 "top of it, default: none)")
      ->capture_default_str();
  app.add_option("--adapt-examples", o.task.adapt, "examples to adapt on")
      ->check(CLI::Range(1, 10'000'000))
      ->default_str("4000, or what there is");
  app.add_option_function<std::string>(
         "--resize",
         [&o](const std::string& how) {
           o.task.resize = how == "fit"    ? Resize::fit
                           : how == "crop" ? Resize::crop
                                           : Resize::stretch;
         },
         "how pictures get the size of the input: stretch, fit (black around) or crop (the "
         "middle); given, arrays and IDX images are resized, too")
      ->check(CLI::IsMember({"stretch", "fit", "crop"}))
      ->default_str("stretch");
  app.add_option_function<std::string>(
      "--size", [&o](const std::string& text) { o.task.size = parse_size(text); },
      "ROWSxCOLUMNS[xCHANNELS] of pictures, for a network that takes any size");
  for (const auto& [name, to, help] :
       {std::tuple{"--mean", &o.task.mean, "taken off pixels of 0 to 1, per channel: a,b,c"},
        std::tuple{"--std", &o.task.deviation, "what the rest is divided by, per channel: a,b,c"}})
    app.add_option(name, *to, help)->delimiter(',')->expected(1, 1 << 10);
  app.add_option_function<std::string>(
         "--layout",
         [&o](const std::string& name) {
           o.task.layout = name == "nhwc" ? Layout::nhwc : Layout::nchw;
         },
         "of arrays with four dimensions: nhwc or nchw (default: that which fits)")
      ->check(CLI::IsMember({"nhwc", "nchw"}));
  app.add_flag("--balance", o.task.balance,
               "repeat examples of rare classes, so that training meets every class equally often");
  app.add_option_function<std::string>(
         "--features",
         [&o](const std::string& name) {
           o.task.features.kind = name == "mfcc" ? FeatureKind::mfcc : FeatureKind::log_mel;
           o.task.features_given = true;
         },
         "audio front end (default: that of the network's file)")
      ->check(CLI::IsMember({"logmel", "mfcc"}))
      ->default_str("logmel");
  app.add_option(
         "--network", o.network,
         "a trained .onnx or .tflite model; or a network to train: small-cnn, resnet8, ds-cnn or a "
         ".toml file")
      ->capture_default_str();
}

void add_pretrain(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Pre-training");
  app.add_option("--epochs", o.pretrain.epochs, "epochs of pre-training (0: as the task needs)")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  app.add_option("--learning-rate", o.pretrain.learning_rate, "of pre-training")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--pretrain-seed", o.pretrain.seed, "first weights and order of examples")
      ->capture_default_str();
}

void add_quantize(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Quantization");
  QuantizeOptions& q = o.quantize.quantize;
  app.add_option_function<std::string>(
         "--weights", [&q](const std::string& text) { parse_weights(text, q); },
         "weight width: w8 or w16, then layers of another one, such as w8,head=w16")
      ->default_str(name_of(q.weight_type));
  choice<CalibrationMethod>(app, "--calibration", q.method,
                            {{"minmax", CalibrationMethod::min_max},
                             {"percentile", CalibrationMethod::percentile},
                             {"mse", CalibrationMethod::mse}},
                            "ranges of activations");
  app.add_option("--percentile", q.percentile, "with --calibration percentile")
      ->check(CLI::Range(50.0, 100.0))
      ->capture_default_str();
  app.add_option("--headroom", q.weight_headroom,
                 "range of the weights over their largest, for weights that will move")
      ->check(CLI::Range(1.0, 1000.0))
      ->capture_default_str();
  app.add_flag("!--per-tensor", q.per_channel,
               "one scale per tensor instead of one per output channel");
  app.add_option("--calibration-examples", o.quantize.calibration_examples,
                 "sample of each domain that ranges come from")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  choice<CalibrateOn>(app, "--calibrate-on", o.quantize.calibrate_on,
                      {{"source", CalibrateOn::source},
                       {"target", CalibrateOn::target},
                       {"both", CalibrateOn::both}},
                      "whose ranges of activations: the pre-training data's, those of the examples "
                      "to adapt on (without their labels), or both");
  choice<Equalization>(
      app, "--equalize", o.quantize.equalize,
      {{"off", Equalization::off}, {"auto", Equalization::automatic}, {"on", Equalization::on}},
      "balance channels across layers (the same float function): never, where "
      "rounding errors fall much, or wherever it is possible");
  app.add_option("--range-headroom", q.range_headroom,
                 "ranges of activations over those that calibration saw")
      ->check(CLI::Range(1.0, 1000.0))
      ->capture_default_str();
}

void add_saturation(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Quantization");
  app.add_option("--saturation-warn", o.saturation_warn,
                 "share of a tensor's values outside its stored range, beyond which a line says so")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
}

void add_adapt(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Adaptation");
  AdaptOptions& a = o.adapt;
  app.add_option(
         "--layers", a.layers,
         "layers that train: all, head, or names (default for audio: head, 1000 steps, batch 24)")
      ->delimiter(',')
      ->capture_default_str();
  app.add_flag("!--no-biases", a.biases, "train weights only");
  choice<AmplitudeUnit>(app, "--unit", a.unit,
                        {{"rms", AmplitudeUnit::rms}, {"curvature", AmplitudeUnit::curvature}},
                        "what --eps and --step count in: a tensor's RMS, or the amplitude that "
                        "raises the loss by the tensor's share of 0.01 nats "
                        "(measured at the start)");
  app.add_option("--eps", a.eps, "perturbation e, in units of --unit")->capture_default_str();
  app.add_option("--step", a.step, "first step of the sum of all pairs, in units of --unit")
      ->capture_default_str();
  app.add_option("--inner", a.inner, "factor on --eps and --step for all layers before the head")
      ->capture_default_str();
  app.add_option("--keep", a.keep,
                 "share of the weights that train (the paper's sparse setting: 0.1)")
      ->capture_default_str();
  app.add_option("--steps", a.forward.steps, "steps")->capture_default_str();
  app.add_option("--pairs", a.forward.pairs, "pairs of forward passes per step (m), 1..8")
      ->capture_default_str();
  app.add_option("--batch", a.forward.batch, "examples per pass")->capture_default_str();
  choice<Estimator>(app, "--estimator", a.forward.estimator,
                    {{"sign", Estimator::sign}, {"scaled", Estimator::scaled}},
                    "what the host makes of L+ - L-");
  choice<StepSchedule>(app, "--schedule", a.forward.schedule,
                       {{"constant", StepSchedule::constant}, {"cosine", StepSchedule::cosine}},
                       "of the step size");
  choice<spec::Distribution>(
      app, "--distribution", a.fixed.distribution,
      {{"sign", spec::Distribution::sign_}, {"gaussian", spec::Distribution::gaussian_}},
      "of the perturbation z");
  app.add_option("--mask-seed", a.fixed.mask_seed, "of the sparsity mask")->capture_default_str();
  app.add_flag(
      "!--no-feature-cache", a.fixed.cache_features,
      "run layers that do not train in every pass instead of once per example (same bits)");
  app.add_option("--evaluations", a.evaluations, "points of the accuracy curve")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--speaker", o.speaker,
                 "audio: adapt to this held-out speaker only (index; default: each in turn)");
  app.add_option_function<double>(
         "--backprop-rate", [&o](double rate) { o.backprop.rates = {rate}; },
         "learning rate of the backpropagation baseline (default: found on held-out examples)")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--backprop-epochs", o.backprop.epochs, "epochs of the backpropagation baseline")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
}

void add_hold_out(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Adaptation");
  app.add_option("--hold-out", o.adapt.hold_out,
                 fmt::format("forward gradients: per cent of the examples that do not train but "
                             "choose the best of {} points and the start, 0: the end is the result "
                             "(default: {}; of fewer than {} examples 0)",
                             kHeldPoints, kHoldOut, kLeastToHoldOut))
      ->check(CLI::Range(0, kMostHeldOut));
}

void add_readout(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Readouts");
  app.add_option("--taps", o.readout.readout.taps,
                 "inner activations that readouts read: auto, none, or layer[:grid],...")
      ->capture_default_str();
  app.add_option("--record-bytes", o.readout.readout.record_bytes,
                 "with --taps auto: bytes of an example that readouts read, at most")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40))
      ->capture_default_str();
  app.add_option("--memory", o.readout.memory_bytes,
                 "bytes of the NPU's memory; what is left keeps records (same bits without)")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--statistics", [&o](const std::string& text) { o.statistics = text == "on"; },
         "first bring each channel's mean and deviation, without labels, back to those of the "
         "source: on or off (networks with batch norm)")
      ->check(CLI::IsMember({"on", "off"}))
      ->default_str("off");
  app.add_option("--readout-steps", o.readout.run.steps, "steps of readouts")
      ->capture_default_str();
  app.add_option("--inner-steps", o.inner_steps,
                 "with both: steps after them in which inner layers (--layers) train, too")
      ->capture_default_str();
}

void add_existing(CLI::App& app, bool& resume, bool& overwrite, const std::string& what) {
  const OptionGroup group(app, "Files that are there");
  app.add_flag("--resume", resume,
               "go on with " + what + " if it exists (it must be of the same run)");
  app.add_flag("--overwrite", overwrite, "replace " + what + " if it exists");
}

void add_audit(CLI::App& app, RunOptions& o) {
  const OptionGroup group(app, "Adaptation");
  app.add_option("--audit-every", o.adapt.audit_every,
                 "chain the journal's records by SHA-256, with a digest of all weights every so "
                 "many steps, for `audit` (0: neither; readouts: their snapshots hold the weights)")
      ->capture_default_str();
}
void add_salvage(CLI::App& app, bool& salvage) {
  const OptionGroup group(app, "Files that are there");
  app.add_flag("--salvage", salvage,
               "of a damaged journal take all steps before the damage, whatever follows");
}

void strict_values(CLI::App& app) {
  // Lists of settings, of which there may be none.
  static const std::set<std::string> kMayBeEmpty = {"hardware", "backend-options"};
  for (CLI::Option* option : app.get_options()) {
    const std::string type = option->get_type_name();
    if (option->get_type_size() == 0) continue;  // a flag
    const auto is = [&](const char* name) { return type.rfind(name, 0) == 0; };
    std::function<std::string(std::string&)> check;
    if (is("UINT")) {
      check = [](std::string& text) {
        return parse_unsigned(text) ? std::string()
                                    : fmt::format(
                                          "\"{}\" is not a whole number of at least 0, in "
                                          "decimal digits and below 2^64",
                                          text);
      };
    } else if (is("INT")) {
      check = [](std::string& text) {
        return parse_signed(text)
                   ? std::string()
                   : fmt::format("\"{}\" is not a whole number in decimal digits", text);
      };
    } else if (is("FLOAT")) {
      check = [](std::string& text) {
        return parse_real(text) ? std::string()
                                : fmt::format("\"{}\" is not a finite decimal number", text);
      };
    } else if (is("TEXT") && kMayBeEmpty.count(option->get_single_name()) == 0) {
      check = [](std::string& text) {
        return text.empty() ? std::string("is empty, expected a value") : std::string();
      };
    } else {
      continue;
    }
    // As a transformation, because those come before other checks, which read 017 as 15.
    option->transform(CLI::Validator(check, ""));
  }
}

nlohmann::json given_options(const CLI::App& app) {
  // These change where and how fast, never a bit of the result.
  static const std::set<std::string> kFree = {
      "threads", "json",    "quiet", "resume",  "salvage",         "overwrite",
      "out",     "reports", "help",  "backend", "backend-options", "hardware"};
  nlohmann::json out = nlohmann::json::object();
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_single_name();
    if (option->count() != 0 && kFree.count(name) == 0)
      out[name] = printable(fmt::format("{}", fmt::join(option->results(), ",")));
  }
  return out;
}

void require_weights(const std::filesystem::path& given, const char* option,
                     const std::string& network) {
  if (given.empty() && !is_model_file(network))
    throw Error(ErrorKind::usage,
                fmt::format("{} is missing: network {} comes without weights, expected the option, "
                            "or a .onnx or .tflite model as --network",
                            option, network));
}

void reads_task(Files& files, const RunOptions& o) {
  const auto reads = [&](const char* option, const std::filesystem::path& path) {
    std::error_code none;
    if (path.empty()) return;
    if (std::filesystem::is_directory(path, none) || !std::filesystem::exists(path, none))
      return files.reads_data(option, path);
    files.reads(option, path);
    files.reads_data(option, path.has_parent_path() ? path.parent_path() : ".");  // its labels
  };
  reads("--data", o.task.data);
  reads("--source", o.task.source);
  reads("--target", o.task.target);
  std::error_code none;
  if (std::filesystem::exists(o.network, none)) files.reads("--network", o.network);
}

void audio_defaults(const CLI::App& app, RunOptions& o) {
  const TaskOptions& t = o.task;
  if (!is_sound_set(!t.data.empty() ? t.data : !t.source.empty() ? t.source : t.target)) return;
  const auto absent = [&](const char* name) {
    const CLI::Option* option = app.get_option_no_throw(name);
    return option != nullptr && option->count() == 0;
  };
  if (absent("--network")) o.network = "ds-cnn";
  if (absent("--layers")) o.adapt.layers = {"head"};
  if (absent("--batch")) o.adapt.forward.batch = 24;
  if (absent("--steps")) o.adapt.forward.steps = 1000;
  if (absent("--readout-steps")) o.readout.run.steps = 400;
  if (absent("--inner-steps")) o.inner_steps = 1000;
  if (absent("--backprop-epochs")) o.backprop.epochs = 100;
}

void settle(RunOptions& o, const CommonOptions& c) {
  o.task.seed = c.seed;
  o.task.threads = c.thread_count();
  o.adapt.forward.seed = c.seed;
  o.adapt.fixed.threads = c.thread_count();
  o.adapt.fixed.hardware = parse_hardware(c.hardware);
  o.readout.run.seed = c.seed;
  o.readout.run.batch = o.adapt.forward.batch;
  o.readout.run.pairs = o.adapt.forward.pairs;
  o.readout.eps = o.adapt.eps;
  o.readout.step = o.adapt.step / kInnerStepPart;
  if (o.adapt.layers != std::vector<std::string>{"head"}) o.readout.inner_layers = o.adapt.layers;
  o.readout.fixed = o.adapt.fixed;
  o.readout.audit = o.adapt.audit_every != 0;
}

spec::HardwareParams parse_hardware(const std::string& text) {
  spec::HardwareParams p;
  for (const spec::Setting& s : spec::split_settings(text)) {
    bool found = false;
    spec::each_parameter(p, [&](std::string_view known, int& value) {
      const auto parsed = parse_integer<int>(s.value);
      if (s.name != known || !parsed) return;
      value = *parsed;
      found = true;
    });
    if (!found)
      throw Error(ErrorKind::usage, fmt::format("--hardware: \"{}\", expected name=integer with a "
                                                "name of rows, cols, bus_bytes, act_bytes, "
                                                "acc_depth, rq_lanes, training",
                                                s.text));
  }
  if (const auto bad = spec::bad_parameter(p); !bad.empty())
    throw Error(
        ErrorKind::usage,
        fmt::format("--hardware \"{}\": {} is not one of the values in cmodel/spec/REFERENCE.md",
                    text, bad));
  return p;
}

}  // namespace lastmile
