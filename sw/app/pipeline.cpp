// SPDX-License-Identifier: Apache-2.0
#include "sw/app/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/shipped.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/golden/golden.hpp"
#include "sw/golden/npz.hpp"
#include "sw/graph/reader.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/quantizer/rewrite.hpp"

namespace lastmile {
namespace {

// Networks without batch norm want smaller rates than those with it.
constexpr int kPretrainAttempts = 4;
constexpr double kRateCut = 4;
// A later epoch that loses so many times as much as guessing has diverged; a batch that loses so
// many times as much as guessing and as the first batch is a leap.
constexpr double kExploded = 2;
constexpr double kLeap = 1.2;
// Of what guessing the most likely labels loses: a network above it has learned nothing.
constexpr double kNothingLearned = 0.98;
constexpr std::uint64_t kCalibrationOrder = 0x63616c6962726174U;

// Mean loss, nats, of always giving the shares of the classes.
double guessing(const Dataset& data) {
  double loss = 0;
  for (const std::size_t n : class_counts(data)) {
    const double share = static_cast<double>(n) / static_cast<double>(data.size());
    if (n != 0) loss -= share * std::log(share);
  }
  return loss;
}

// The same of an autoencoder that always gives the mean: the variance of an element.
double guessing_input(const Dataset& data) {
  const auto each = static_cast<std::size_t>(data.shape.elements());
  std::vector<double> sums(each), squares(each);
  for (std::size_t k = 0; k < data.x.size(); ++k) {
    sums[k % each] += double{data.x[k]};
    squares[k % each] += double{data.x[k]} * double{data.x[k]};
  }
  const auto n = static_cast<double>(data.size());
  double variance = 0;
  for (std::size_t k = 0; k < each; ++k) variance += squares[k] / n - sums[k] / n * (sums[k] / n);
  return variance / static_cast<double>(each);
}

// Whether the outputs are the same whatever the input is: units that died.
bool is_dead(const Network& network, const FloatParams<float>& params, const Dataset& data) {
  const Dataset some = slice(data, 0, std::min<std::size_t>(data.size(), 64));
  const auto classes = static_cast<std::size_t>(network.classes);
  std::vector<float> logits(some.size() * classes);
  Golden<float>(network, 1).forward(params, some.x, logits);
  for (std::size_t i = classes; i < logits.size(); ++i)
    if (logits[i] != logits[i - classes]) return false;
  return some.size() > 1;
}

// The best epoch of all attempts, and what says that one has diverged, quietly, too: the loss of a
// later epoch is far above guessing; or it ends no better than guessing, with units that died,
// after a leap of the loss, or although it had learned something.
class PretrainWatch {
 public:
  // What it refers to must outlive it.
  PretrainWatch(const Network& network, const Dataset& data, const FloatParams<float>& params)
      : network_(network),
        data_(data),
        params_(params),
        guess_(network.reconstructs() ? guessing_input(data) : guessing(data)),
        start_(network.reconstructs() ? 0 : std::log(network.classes)),
        best_loss_(guess_ * kNothingLearned) {}

  void begin() {
    first_ = peak_ = 0;
    losses_.clear();
  }
  void step(double loss) {
    if (first_ == 0) first_ = loss;
    peak_ = std::max(peak_, loss);
    losses_.push_back(loss);
  }
  void epoch(const EpochReport& r) {
    // The last quarter of the batches says what the epoch leaves, not what it began with.
    const std::size_t quarter = (losses_.size() + 3) / 4;
    last_ =
        std::accumulate(losses_.end() - static_cast<std::ptrdiff_t>(quarter), losses_.end(), 0.0) /
        static_cast<double>(std::max<std::size_t>(1, quarter));
    losses_.clear();
    // Outputs that start at random are far from an input of small variance, and from data that
    // have few of the classes: no explosion yet.
    const double start = std::max(guess_, network_.reconstructs() ? first_ : start_);
    if (r.epoch > 1 && r.loss > kExploded * start)
      throw Error(
          ErrorKind::diverged,
          fmt::format("training diverged in epoch {}: its loss is {:.3f}, that of {} {:.3f}",
                      r.epoch, r.loss, start > guess_ ? "the start" : "guessing", start));
    if (last_ >= best_loss_) return;
    best_loss_ = last_;
    best_ = params_;
  }
  void end() const {
    if (last_ < guess_ * kNothingLearned) return;
    // Squared errors come down to those of guessing first: few epochs are no divergence.
    if (network_.reconstructs() && last_ < first_ * kNothingLearned) return;
    if (best_ || peak_ > kLeap * std::max(first_, guess_) || is_dead(network_, params_, data_))
      throw Error(ErrorKind::diverged,
                  fmt::format("training diverged: after losses of up to {:.3f} it ends at {:.3f}, "
                              "no better than guessing",
                              peak_, last_));
  }
  // Of an epoch that learned something; none if none did.
  [[nodiscard]] const std::optional<FloatParams<float>>& best() const { return best_; }
  [[nodiscard]] double best_loss() const { return best_loss_; }

 private:
  const Network& network_;
  const Dataset& data_;
  const FloatParams<float>& params_;  // as they are
  double guess_, start_;              // of the shares of the classes, of all of them alike
  double best_loss_, first_ = 0, peak_ = 0, last_ = 0;
  std::vector<double> losses_;  // of the epoch
  std::optional<FloatParams<float>> best_;
};

std::string trained_text(const Network& network, const EpochReport& r) {
  if (network.reconstructs()) return fmt::format("squared error per element {:.5g}", r.loss);
  return fmt::format("loss {:.3f}, accuracy {:.1f} %", r.loss, 100 * r.accuracy);
}

}  // namespace

int default_epochs(const Task& task) {
  switch (task.kind) {
    case TaskKind::glyphs:
      return 8;
    case TaskKind::images:
      // A small set is seen more often: about as many examples in all as of one of 1,000.
      return static_cast<int>(
          std::clamp<std::size_t>(6000 / std::max<std::size_t>(task.pretrain.size(), 1), 6, 60));
    case TaskKind::audio:
      return 40;
  }
  return 8;
}

void say_data(const Task& task, const Say& say) {
  if (!say || task.kind == TaskKind::glyphs) return;
  say(fmt::format("data: {}", task.split));
  for (const std::string& note : task.notes) say("note: " + note);
}

TaskShape shape_of(const Task& task) { return {task.pretrain.shape, task.pretrain.classes}; }

Pretrained pretrain(const Task& task, const Network& network, const PretrainOptions& options,
                    int threads, const Say& say, const ProgressOptions& progress) {
  require_source(task, "pre-training");
  Pretrained result{network, init_params<float>(network, options.seed)};
  BackpropOptions o;
  o.learning_rate = options.learning_rate;
  o.weight_decay = options.weight_decay;
  o.batch = std::min(options.batch, static_cast<int>(task.pretrain.size()));
  o.epochs = options.epochs > 0 ? options.epochs : default_epochs(task);
  o.seed = options.seed;
  o.threads = threads;
  const auto examples = static_cast<std::int64_t>(task.pretrain.size());
  Progress bar("pre-training", o.epochs * (examples / o.batch), progress);
  TrainCallbacks callbacks;
  PretrainWatch watch(network, task.pretrain, result.params);
  callbacks.on_step = [&](std::int64_t, std::int64_t, const BatchLoss& loss) {
    stop_if_asked();
    watch.step(loss.mean);
    bar.add();
  };
  callbacks.on_epoch = [&](const EpochReport& r) {
    bar.note(trained_text(network, r));
    watch.epoch(r);
  };
  std::vector<EpochReport> reports;
  for (int attempt = 1;; ++attempt) {
    try {
      watch.begin();
      reports = train<float>(network, result.params, examples,
                             memory_source<float>(task.pretrain.x, task.pretrain.y), o, callbacks);
      watch.end();
      break;
    } catch (const Error& e) {
      const bool last = attempt == kPretrainAttempts;
      if (e.kind() != ErrorKind::diverged || (last && !watch.best())) throw;
      o.learning_rate /= kRateCut;
      const std::string from =
          watch.best() ? fmt::format("from its best epoch (loss {:.3f})", watch.best_loss())
                       : "again";
      result.params = watch.best() ? *watch.best() : init_params<float>(network, options.seed);
      if (say && last)
        say(fmt::format("note: {}; pre-training ends {}", e.what(), from));
      else if (say)
        say(fmt::format("note: {}; pre-training begins {} with a learning rate of {:g}", e.what(),
                        from, o.learning_rate));
      if (last) break;
    }
  }
  bar.finish();
  if (say && !reports.empty())
    say(fmt::format("pre-trained {} on {}: {} epochs, {}", network.name, task.name, o.epochs,
                    trained_text(network, reports.back())));
  return result;
}

Pretrained starting_point(const Task& task, NetworkSource source,
                          const std::filesystem::path& checkpoint, const PretrainOptions& options,
                          int threads, const Say& say, const ProgressOptions& progress) {
  if (say)
    for (const std::string& note : source.notes)
      say(fmt::format("note: {}: {}", source.name, note));
  if (!checkpoint.empty()) {
    FloatParams<float> params = load_weights(checkpoint, source.network);
    return {std::move(source.network), std::move(params), {}, false};
  }
  if (!source.params) return pretrain(task, source.network, options, threads, say, progress);
  if (say && source.integers)
    say(
        fmt::format("note: {} keeps its own integers and scales, whatever the options of "
                    "quantization are",
                    source.name));
  return {std::move(source.network), std::move(*source.params), std::move(source.integers), false};
}

std::vector<float> calibration_sample(const Task& task, const QuantizeStageOptions& options) {
  if (options.calibration_examples < 1)
    throw Error(ErrorKind::usage, fmt::format("calibration examples is {}, expected at least 1",
                                              options.calibration_examples));
  if (options.calibrate_on == CalibrateOn::source) require_source(task, "--calibrate-on source");
  std::vector<float> x;
  const auto take = [&](const Dataset& data) {
    // Recordings come sorted by word, and files by class: a part of them must be a sample.
    std::vector<std::size_t> order = shuffled_indices(data.size(), kCalibrationOrder);
    order.resize(std::min(order.size(), static_cast<std::size_t>(options.calibration_examples)));
    const Dataset part = select(data, order);
    x.insert(x.end(), part.x.begin(), part.x.end());
  };
  if (options.calibrate_on != CalibrateOn::target) take(task.pretrain);
  if (options.calibrate_on != CalibrateOn::source) take(task.adapt);
  if (x.empty()) take(task.shifted_test);  // a target without labels has nothing else
  return x;
}

void use_network(TaskOptions& task, const std::string& network, const std::filesystem::path& file,
                 const Say& say) {
  const auto takes = [&](const Shape& input, int classes) {
    task.input = input;
    task.classes = classes;
  };
  // What an autoencoder puts out are no classes.
  const auto of_network = [&](const Network& n) {
    takes(n.input, n.reconstructs() ? 0 : n.classes);
    task.autoencoder = n.reconstructs();
  };
  std::string text;
  bool keeps = false, known = false;  // how its data were prepared; its input
  if (file.extension() == ".lmc") {
    text = describe_checkpoint(read_file(file), file.string()).preprocessing;
    keeps = true;
  } else if (file.extension() == ".lmq") {
    const QuantizedNetwork q = load_quantized(file);
    text = q.preprocessing;
    of_network(q.network);
    keeps = known = true;
  }
  if (!text.empty()) {
    task.stored = parse_preprocessing(text, file.string());
    task.origin = file.string();
    takes(task.stored->input, static_cast<int>(task.stored->class_names.size()));
    known = true;
    // A file of weights does not say what they are for.
    if (file.extension() == ".lmc" && !network.empty() && !is_model_file(network))
      task.autoencoder = read_fixed_shape(find_shipped("networks", network).string()).autoencoder;
  } else if (keeps && say) {
    say(
        fmt::format("note: {} does not say what data it was made for (an older file): "
                    "normalization is fitted on these data, and class names are not checked",
                    file.string()));
  }
  // The drawn digits are as they are.
  if (known || (task.data.empty() && task.source.empty() && task.target.empty())) return;
  const std::string model = is_model_file(file) ? file.string() : network;
  if (is_model_file(model)) {
    of_network(load_model(model).network);
  } else if (!model.empty()) {
    const FixedShape fixed = read_fixed_shape(find_shipped("networks", model).string());
    if (fixed.input) task.input = fixed.input;
    task.classes = fixed.classes.value_or(0);
    task.autoencoder = fixed.autoencoder;
  }
}

Pretrained prepared(Pretrained p, const Task& task, const QuantizeStageOptions& options,
                    int threads, const Say& say) {
  if (p.integers) return p;
  // Batch norm goes, but what it says of the data stays.
  p.statistics.resize(p.network.layers.size());
  for (std::size_t i = 0; i < p.network.layers.size(); ++i) {
    const Layer& l = p.network.layers[i];
    if (l.batch_norm && static_cast<int>(i) != p.network.logits_layer())
      p.statistics[i] = {p.params.layers[i].beta, trained_deviation(p.params.layers[i])};
  }
  const Network plain = fold_network(p.network);
  p.params = depthwise_groups(plain, fold_params(p.network, p.params));
  p.network = depthwise_groups(plain);
  p.params = weighted_head(p.network, std::move(p.params));
  p.network = weighted_head(p.network);
  const EqualizeReport done =
      equalize(p.network, p.params, calibration_sample(task, options),
               {options.equalize, weight_limit(options.quantize.weight_type) * 1.0}, threads);
  p.statistics.resize(p.network.layers.size());
  for (std::size_t i = 0; i < p.statistics.size() && i < done.factors.size(); ++i)
    for (std::size_t c = 0; c < p.statistics[i].mean.size(); ++c) {
      p.statistics[i].mean[c] *= static_cast<float>(done.factors[i][c]);
      p.statistics[i].deviation[c] *= static_cast<float>(done.factors[i][c]);
    }
  if (!say) return p;
  for (const std::string& pair : done.pairs) say("note: channels equalized: " + pair);
  for (const std::string& layer : done.dead)
    say(fmt::format("note: channels that never fire brought down to the others' range: {}", layer));
  return p;
}

QuantizedNetwork require_runnable(const Network& network, const Task& task,
                                  const QuantizeStageOptions& options,
                                  const spec::HardwareParams& hardware, int batch) {
  Task few;
  few.pretrain = slice(task.pretrain, 0, 1);
  few.input_range = task.input_range;
  QuantizeStageOptions how = options;
  how.calibrate_on = CalibrateOn::source;
  how.equalize = Equalization::off;
  const Pretrained drawn = prepared({network, init_params<float>(network, 1)}, few, how, 1, {});
  CompileOptions o;
  o.batch = batch;
  QuantizedNetwork q = quantize_stage(drawn, few, how, 1);
  static_cast<void>(compile(q, hardware, o));
  return q;
}

QuantizedNetwork quantize_stage(const Pretrained& pretrained, const Task& task,
                                const QuantizeStageOptions& options, int threads) {
  const Golden<float> golden(pretrained.network, threads);
  QuantizeOptions how = options.quantize;
  if (task.input_range) how.input_range = {task.input_range->low, task.input_range->high};
  QuantizedNetwork q =
      quantize(pretrained.network, pretrained.params,
               calibrate(golden, pretrained.params, calibration_sample(task, options)), how);
  for (std::size_t i = 0; i < pretrained.statistics.size(); ++i) {
    q.layers[i].mean = pretrained.statistics[i].mean;
    q.layers[i].deviation = pretrained.statistics[i].deviation;
  }
  if (!task.class_names.empty()) q.preprocessing = to_text(task.preprocessing);
  return q;
}

void keep_normal(Dataset& data, const std::string& task) {
  if (data.classes != 2 || data.size() == 0) return;
  std::vector<std::size_t> normal;
  for (std::size_t i = 0; i < data.size(); ++i)
    if (data.y[i] == 0) normal.push_back(i);
  if (normal.empty())
    throw Error(ErrorKind::input,
                fmt::format("task {}: none of {} examples is of class 0, expected normal ones for "
                            "a network whose loss is reconstruction",
                            task, data.size()));
  if (normal.size() != data.size()) data = select(data, normal);
}

void keep_normal(const Network& network, Task& task) {
  if (!network.reconstructs()) return;
  keep_normal(task.pretrain, task.name);
  keep_normal(task.adapt, task.name);
}

QuantizedNetwork with_difference(QuantizedNetwork q, const Task& task,
                                 const QuantizeStageOptions& options, int threads) {
  if (!q.network.reconstructs() || q.difference) return q;
  const CalibrationRanges seen = calibrate(Golden<float>(q.network, threads), dequantize(q),
                                           calibration_sample(task, options));
  q.difference = encode_difference(
      q.layers.back().out, q.input,
      seen.difference.interval(options.quantize.method, options.quantize.percentile));
  return q;
}

QuantizedNetwork integers_of(const Pretrained& pretrained, const Task& task,
                             const QuantizeStageOptions& options, int threads) {
  if (pretrained.integers) return with_difference(*pretrained.integers, task, options, threads);
  return quantize_stage(pretrained, task, options, threads);
}

}  // namespace lastmile
