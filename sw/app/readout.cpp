// SPDX-License-Identifier: Apache-2.0
#include "sw/app/readout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "sw/app/readout_header.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/stop.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Dataset head_of(const Dataset& data, int examples) {
  return slice(data, 0, std::min(data.size(), static_cast<std::size_t>(std::max(examples, 1))));
}

// Layers below the head that are to train by forward gradients, and how far each moves.
std::vector<TensorTraining> inner_plan(const QuantizedNetwork& network, const Dataset& train,
                                       const ReadoutAdaptOptions& o, const DeviceOpener& open) {
  if (o.run.inner_steps == 0) return {};
  const int head = network.network.logits_layer();
  AdaptOptions a;
  a.layers.clear();
  const bool all = o.inner_layers == std::vector<std::string>{"all"};
  for (int i = 0; i < head && all; ++i) {
    const Layer& l = network.network.layers[static_cast<std::size_t>(i)];
    if (has_weights(l)) a.layers.push_back(l.name);
  }
  if (!all) a.layers = o.inner_layers;
  const std::string& last = network.network.layers[static_cast<std::size_t>(head)].name;
  for (const std::string& name : a.layers)
    if (name == last || name == "head")
      throw Error(ErrorKind::usage, fmt::format("inner layer '{}' is the last one, expected layers "
                                                "below it: readouts train it",
                                                name));
  a.fixed = o.fixed;
  a.forward.seed = o.run.seed;
  a.forward.pairs = o.run.pairs;
  a.eps = o.eps;
  a.step = o.step;
  return plan_training(network, a, train, open);
}

// The journal to continue must be of this run; the error names the first field that differs.
void require_same_run(const std::string& name, const nlohmann::json& found,
                      const nlohmann::json& expected) {
  if (const std::string what = header_difference(found, expected); !what.empty())
    throw Error(ErrorKind::journal,
                fmt::format("{}: it is the journal of another run: {}", name, what));
}

// Weights of a snapshot: those of the last layer, then the inner tensors.
void set_weights(QuantizedNetwork& network, const ReadoutWeights& weights,
                 std::span<const std::uint32_t> inner, const std::string& name) {
  std::vector<std::uint32_t> tensors = {weight_tensor(network.network.logits_layer())};
  tensors.insert(tensors.end(), inner.begin(), inner.end());
  std::size_t at = 0;
  const auto copy = [&](auto& to) {
    if (weights.size() - at < to.size())
      throw Error(ErrorKind::journal,
                  fmt::format("{}: a snapshot of {} weights, expected those of {} tensors", name,
                              weights.size(), tensors.size()));
    for (auto& w : to) w = static_cast<std::decay_t<decltype(w)>>(weights[at++]);
  };
  for (const std::uint32_t t : tensors) {
    if (t / 2 >= network.layers.size())
      throw Error(ErrorKind::journal, fmt::format("{}: header: inner tensor {}, expected below {}",
                                                  name, t, 2 * network.layers.size()));
    QuantizedLayer& q = network.layers[t / 2];
    t % 2 == 0 ? copy(q.weights) : copy(q.bias);
  }
  if (at != weights.size())
    throw Error(ErrorKind::journal,
                fmt::format("{}: a snapshot of {} weights, expected {}", name, weights.size(), at));
}

// Multiply-accumulates of a pass up to the record, and of one example through the last layer.
struct Macs {
  std::int64_t below = 0, head = 0;
};
Macs macs_of(const Network& network) {
  const Layer& head = network.layers[static_cast<std::size_t>(network.logits_layer())];
  return {macs(network) - macs(head), macs(head)};
}

// Steps and passes become multiply-accumulates: a step is the head and its gradient.
void count_cost(const Network& network, const ReadoutOutcome& out, const ReadoutAdaptOptions& o,
                std::uint64_t passes, std::size_t held, AdaptCost& cost) {
  const Macs m = macs_of(network);
  const auto batch = static_cast<std::uint64_t>(o.run.batch);
  const std::uint64_t steps = o.run.all_steps() + out.search_steps;
  const std::uint64_t scored =
      2 * static_cast<std::uint64_t>(o.run.pairs) * batch * o.run.inner_steps +
      held * (out.snapshots.size() + out.choice.losses.size());
  cost.macs = passes * batch * static_cast<std::uint64_t>(m.below) +
              (2 * steps * batch + scored) * static_cast<std::uint64_t>(m.head);
  cost.passes = static_cast<double>(cost.macs) /
                (static_cast<double>(batch) * static_cast<double>(m.below + m.head));
}

// A journal keeps its rule of seeds: those that do not say are of before there was a choice.
SeedRule seed_rule_of(const JournalFile& file) {
  if (!file.goes_on()) return SeedRule::hashed;
  const ReadoutJournal found = read_readout_journal(file.path, file.salvage);
  return found.header.contains("seed_rule") ? SeedRule::hashed : SeedRule::counting;
}

// The journal of a run: what it has already, and what it goes on in.
struct OpenJournal {
  std::optional<ReadoutJournalWriter> writer;  // none without a path
  ReadoutJournal from;
};
OpenJournal open_journal(const JournalFile& file, const nlohmann::json& header, const Say& say) {
  OpenJournal out;
  const std::filesystem::path& path = file.path;
  if (path.empty()) return out;
  if (!file.goes_on()) {
    if (file.begins) file.begins();
    out.writer = ReadoutJournalWriter::create(path, header);
    return out;
  }
  out.from = read_readout_journal(path, file.salvage);
  require_same_run(path.string(), out.from.header, header);
  warn_of_damage(path.string(), out.from.damage, out.from.file_bytes, out.from.valid_bytes);
  out.writer = ReadoutJournalWriter::resume(path, out.from);
  if (say)
    say(fmt::format("{}: continuing after step {}", path.string(),
                    out.from.snapshots.empty() ? 0 : out.from.snapshots.back().step));
  return out;
}

// Points of the accuracy curve: every snapshot has a loss, some of them an accuracy.
class SnapshotCurve {
 public:
  SnapshotCurve(const ReadoutAdaptOptions& o, const Network& network, std::uint64_t passes)
      : o_(o), macs_(macs_of(network)), passes_(passes) {}

  // Whether the next snapshot is a point whose accuracy is wanted.
  [[nodiscard]] bool wants_accuracy(const ReadoutSnapshot& s) {
    const auto points = static_cast<std::uint64_t>(std::max(0, o_.evaluations));
    const auto count = static_cast<std::uint64_t>(std::max(1, o_.run.snapshots));
    const std::uint64_t k = seen_++;
    if (points == 0) return false;
    return k == 0 || s.step == o_.run.steps || s.step == o_.run.all_steps() ||
           k * points / count != (k - 1) * points / count;
  }
  [[nodiscard]] CurvePoint point(const ReadoutSnapshot& s, double accuracy) const {
    const double of_step =
        2 * static_cast<double>(macs_.head) / static_cast<double>(macs_.below + macs_.head);
    const std::uint32_t inner = s.step - std::min(s.step, o_.run.steps);
    const auto passes =
        static_cast<std::uint64_t>(static_cast<double>(passes_) + of_step * s.step) +
        2 * std::uint64_t{inner} * static_cast<std::uint64_t>(o_.run.pairs);
    return {s.step, passes, s.loss, accuracy};
  }

 private:
  const ReadoutAdaptOptions& o_;
  Macs macs_;
  std::uint64_t passes_;  // before the first step
  std::uint64_t seen_ = 0;
};

// What the run chose and what it cost.
void report(const ReadoutNetwork& readout, FixedReadout& target, const ReadoutSplit& split,
            const ReadoutOutcome& out, const ReadoutAdaptOptions& o, double largest,
            ReadoutResult& result) {
  const Network& network = readout.network.network;
  const Program& program = target.driver().program();
  result.network = target.network();
  result.device_report = target.device().report();
  result.taps = readout.taps;
  result.record = network.shape_of(readout.record).elements();
  for (int i = 0; i < o.run.rates; ++i) result.rates.push_back(candidate_rate(largest, i));
  result.rate_losses = out.choice.losses;
  result.rate = candidate_rate(largest, out.choice.rate);
  result.best_step = out.best_step;
  result.held_loss = out.held_loss;
  result.held = split.held();
  count_cost(network, out, o, target.passes(), split.held(), result.cost);
  result.cost.scratch_bytes = program.memory.activation_live_peak;
  result.cost.record_bytes = program.memory.record_bytes;
  result.forward_passes = static_cast<std::uint64_t>(std::llround(result.cost.passes));
  result.peak_bytes = program.memory.total_bytes;
  result.memory_text = memory_report(program, network);
}

}  // namespace

ReadoutResult adapt_readout(const QuantizedNetwork& base, const Dataset& train, const Dataset& test,
                            const ReadoutAdaptOptions& o, const DeviceOpener& open,
                            const JournalFile& file, const ProgressOptions& progress,
                            const Say& say) {
  ReadoutResult result;
  result.before = evaluate_fixed(base, test, open, o.fixed);
  const ReadoutNetwork readout = make_readout_network(base, o.readout);
  const Network& network = readout.network.network;
  const ReadoutSplit split = split_records(train, o.run.seed);
  ReadoutAdaptOptions options = o;
  options.run.batch =
      static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(o.run.batch), split.train));
  options.fixed.batch = options.run.batch;
  options.run.seed_rule = seed_rule_of(file);
  check_options(options.run, split.train);
  const Clock::time_point begin = Clock::now();
  const double largest =
      o.run.largest_rate * readout_rate_unit(readout.network, train, open, options.fixed);
  const std::vector<TensorTraining> inner = inner_plan(readout.network, train, options, open);
  result.trained = weight_count(network.layers[static_cast<std::size_t>(network.logits_layer())]) +
                   trained_weights(readout.network, inner);
  FixedReadout target(readout.network, train, split, largest, open, options.fixed, o.memory_bytes,
                      inner);
  if (say)
    for (const std::string& note : target.driver().program().notes) say("note: " + note);
  OpenJournal journal =
      open_journal(file, readout_header(base, train, options, largest, inner), say);

  const Dataset curve_test = head_of(test, o.evaluation_examples);
  SnapshotCurve curve(options, network, target.passes());
  double evaluating = 0;
  Progress bar(
      o.run.inner_steps == 0 ? "adapting (readouts)" : "adapting (readouts and inner layers)",
      options.run.all_steps(), progress);
  const HostTraffic before = target.driver().traffic(Traffic::step);
  std::uint64_t steps = 0;
  ReadoutCallbacks callbacks;
  callbacks.on_step = [&](const ReadoutReport& r) {
    if (const int signal = stop_signal(); signal != 0)
      throw Stopped(signal, "while readouts train");
    ++steps;
    bar.add();
    bar.note(fmt::format("loss {:.3f}", r.loss));
  };
  callbacks.on_snapshot = [&](const ReadoutSnapshot& s) {
    double accuracy = kNan;
    if (curve.wants_accuracy(s)) {
      const Clock::time_point t = Clock::now();
      accuracy = evaluate_fixed(target.network(), curve_test, open, o.fixed).percent();
      evaluating += seconds_since(t);
    }
    result.curve.push_back(curve.point(s, accuracy));
  };
  const ReadoutOutcome out =
      train_readout(target, split, options.run, journal.writer ? &*journal.writer : nullptr,
                    journal.from, callbacks);
  result.seconds = seconds_since(begin) - evaluating;
  bar.finish();
  result.host_bytes_per_step =
      steps == 0 ? kNan
                 : static_cast<double>((target.driver().traffic(Traffic::step) - before).bytes()) /
                       static_cast<double>(steps);
  report(readout, target, split, out, options, largest, result);
  if (journal.from.choice) result.cost.passes = kNan;  // what went before was not counted
  result.after = evaluate_fixed(result.network, test, open, o.fixed);
  return result;
}

AdaptResult adapt_readout_float(const QuantizedNetwork& base, const FloatParams<float>& start,
                                const Dataset& train, const Dataset& test,
                                const ReadoutAdaptOptions& o, const ReadoutResult& fixed,
                                const ProgressOptions& progress) {
  const ReadoutNetwork readout = make_readout_network(base, o.readout);
  const Network& network = readout.network.network;
  FloatParams<float> params = readout_params(network, start);
  const Golden<float> golden(network, o.fixed.threads);
  AdaptResult result;
  result.before = evaluate_float(golden, params, test);
  const ReadoutSplit split = split_records(train, o.run.seed);
  ReadoutRunOptions run = o.run;
  run.batch =
      static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(o.run.batch), split.train));
  const Clock::time_point begin = Clock::now();
  FloatReadout target(golden, params, train, split, readout.record, fixed.rates.at(0), run.batch);
  ReadoutJournal from;  // the choice that the fixed-point run made
  from.choice = ReadoutChoice{0, {}};
  for (std::size_t i = 0; i < fixed.rates.size(); ++i)
    if (fixed.rates[i] == fixed.rate) from.choice->rate = static_cast<int>(i);
  Progress bar("adapting (readouts, float)", run.steps, progress);
  ReadoutCallbacks callbacks;
  callbacks.on_step = [&](const ReadoutReport&) {
    stop_if_asked();
    bar.add();
  };
  callbacks.on_snapshot = [&](const ReadoutSnapshot& s) {
    result.curve.push_back({s.step, s.step, s.loss, kNan});
  };
  static_cast<void>(train_readout(target, split, run, nullptr, from, callbacks));
  result.seconds = seconds_since(begin);
  bar.finish();
  result.forward_passes = fixed.forward_passes;
  result.after = evaluate_float(golden, params, test);
  if (!result.curve.empty()) result.curve.back().accuracy = result.after.percent();
  return result;
}

QuantizedNetwork replay_readout_journal(const QuantizedNetwork& base,
                                        const std::filesystem::path& path,
                                        std::optional<std::uint32_t> steps, bool salvage) {
  const std::string name = path.string();
  const ReadoutJournal journal = read_readout_journal(path, salvage);
  warn_of_damage(name, journal.damage, journal.file_bytes, journal.valid_bytes);
  ReadoutOptions o;
  std::vector<std::uint32_t> inner;
  try {
    const nlohmann::json& h = journal.header;
    const auto version = h.at("version").get<int>();
    if (version != 1)
      throw Error(ErrorKind::journal,
                  fmt::format("{}: header: version is {}, expected 1", name, version));
    const auto digest = h.at("base_digest").get<std::uint64_t>();
    if (digest != network_digest(base))
      throw Error(
          ErrorKind::journal,
          fmt::format(
              "{}: it starts from the network with digest {:016x}, the given one has {:016x}", name,
              digest, network_digest(base)));
    o.taps = h.at("taps").get<std::string>();
    o.record_bytes = h.at("record_bytes").get<std::int64_t>();
    o.weight_range = h.at("weight_range").get<double>();
    o.logit_headroom = h.at("logit_headroom").get<double>();
    if (h.contains("inner"))
      for (const nlohmann::json& t : h.at("inner"))
        inner.push_back(t.at("tensor").get<std::uint32_t>());
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::journal, fmt::format("{}: header: {}", name, e.what()));
  }
  const std::optional<std::uint32_t> wanted = steps ? steps : journal.end;
  if (!wanted)
    throw Error(ErrorKind::journal,
                fmt::format("{}: the run has not ended, expected the steps of a "
                            "snapshot to replay to",
                            name));
  QuantizedNetwork network = make_readout_network(base, o).network;
  for (const ReadoutSnapshot& s : journal.snapshots) {
    if (s.step != *wanted) continue;
    set_weights(network, s.weights, inner, name);
    return network;
  }
  throw Error(ErrorKind::usage, fmt::format("steps is {}, expected one of the {} snapshots of {}",
                                            *wanted, journal.snapshots.size(), name));
}

namespace {

// One training by backpropagation: the parameters of its best epoch by the held-out examples.
struct Trial {
  FloatParams<float> params;
  double loss = kNan;
  int epochs = 0;
  bool diverged = false;
  std::vector<CurvePoint> curve;
};

class BackpropSearch {
 public:
  BackpropSearch(const Network& folded, const FloatParams<float>& start, const Dataset& train,
                 const std::vector<std::string>& layers, int batch, std::uint64_t seed, int threads,
                 const ProgressOptions& progress)
      : golden_(folded, threads), start_(start), progress_(progress) {
    const ReadoutSplit split = split_records(train, seed);
    const auto pick = [&](std::size_t from, std::size_t to) {
      Dataset out;
      out.shape = train.shape;
      out.classes = train.classes;
      const auto each = static_cast<std::size_t>(train.shape.elements());
      for (std::size_t i = from; i < to; ++i) {
        const auto x = std::span(train.x).subspan(split.order[i] * each, each);
        out.x.insert(out.x.end(), x.begin(), x.end());
        out.y.push_back(train.y[split.order[i]]);
      }
      return out;
    };
    train_ = pick(0, split.train);
    held_ = pick(split.train, split.order.size());
    options_.batch = std::min(batch, static_cast<int>(train_.size()));
    options_.seed = seed;
    options_.threads = threads;
    options_.trainable = trainable_layers(folded, layers);
  }

  [[nodiscard]] std::int64_t steps_of_epoch() const {
    return static_cast<std::int64_t>(train_.size()) / options_.batch;
  }
  [[nodiscard]] const Dataset& held() const { return held_; }

  Trial run(double rate, int epochs, const std::string& what) {
    Trial best{start_, kNan, 0, false, {}};
    best.loss = held_.size() == 0 ? kNan : evaluate_float(golden_, start_, held_).loss;
    const double base_loss = best.loss;
    BackpropOptions o = options_;
    o.learning_rate = rate;
    o.epochs = epochs;
    FloatParams<float> params = start_;
    Progress bar(what, epochs * steps_of_epoch(), progress_);
    TrainCallbacks callbacks;
    callbacks.on_step = [&](std::int64_t, std::int64_t, const BatchLoss&) {
      stop_if_asked();
      bar.add();
    };
    callbacks.on_epoch = [&](const EpochReport& r) {
      const auto steps = static_cast<std::uint64_t>(r.epoch * steps_of_epoch());
      best.curve.push_back({static_cast<std::uint32_t>(steps), 3 * steps, r.loss, kNan});
      const double loss =
          held_.size() == 0 ? -r.epoch : evaluate_float(golden_, params, held_).loss;
      if (std::isnan(best.loss) || loss < best.loss) {
        best.params = params;
        best.loss = loss;
        best.epochs = r.epoch;
      }
    };
    try {
      train<float>(golden_.network(), params, static_cast<std::int64_t>(train_.size()),
                   memory_source<float>(train_.x, train_.y), o, callbacks);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::diverged) throw;
      best.diverged = true;
    }
    bar.finish();
    if (held_.size() == 0) best.loss = base_loss;
    return best;
  }

 private:
  Golden<float> golden_;
  const FloatParams<float>& start_;
  ProgressOptions progress_;
  Dataset train_, held_;
  BackpropOptions options_;
};

// A step is a forward pass, the weights' gradients of what trains, and the errors of what lies
// above the lowest of it. Scratch, in float32: every layer's output of a batch, gradients and
// momentum.
AdaptCost backprop_cost(const Network& net, const std::vector<bool>& trainable, int batch,
                        std::uint64_t steps) {
  std::int64_t macs_of_example = macs(net), stored = net.input.elements(), trained = 0;
  bool above = false;
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const Layer& l = net.layers[i];
    const bool trains = has_weights(l) && trainable[i];
    if (above) macs_of_example += macs(l);
    if (trains) macs_of_example += macs(l);
    if (trains) trained += weight_count(l) + (l.bias ? l.filters : 0);
    above = above || trains;
    stored += l.out.elements();
  }
  AdaptCost cost;
  const auto n = static_cast<std::uint64_t>(batch);
  cost.macs = steps * n * static_cast<std::uint64_t>(macs_of_example);
  cost.passes = static_cast<double>(steps) * static_cast<double>(macs_of_example) /
                static_cast<double>(macs(net));
  cost.scratch_bytes =
      4 * (n * static_cast<std::uint64_t>(stored) + 2 * static_cast<std::uint64_t>(trained));
  return cost;
}

}  // namespace

BackpropResult adapt_backprop_search(const Network& folded, const FloatParams<float>& start,
                                     const Dataset& train, const Dataset& test,
                                     const std::vector<std::string>& layers,
                                     const BackpropSearchOptions& o, int batch, std::uint64_t seed,
                                     int threads, const ProgressOptions& progress) {
  constexpr int kSearchEpochs = 5, kMostGrowth = 2;
  if (o.rates.empty() || o.epochs < 1)
    throw Error(ErrorKind::usage, "backpropagation: no rate or no epoch, expected at least one");
  BackpropResult result;
  const Golden<float> golden(folded, threads);
  result.before = evaluate_float(golden, start, test);
  BackpropSearch search(folded, start, train, layers, batch, seed, threads, progress);
  const Clock::time_point begin = Clock::now();
  BackpropChoice& choice = result.choice;
  std::uint64_t steps = 0;
  const int short_epochs = std::max(1, o.epochs / kSearchEpochs);
  const auto try_rate = [&](double rate) {
    const Trial t =
        search.run(rate, short_epochs, fmt::format("backpropagation, rate {:.3g}", rate));
    steps += static_cast<std::uint64_t>(short_epochs * search.steps_of_epoch());
    return t.diverged ? kNan : t.loss;
  };
  const auto best = [&] {
    std::size_t at = choice.losses.size();
    for (std::size_t i = 0; i < choice.losses.size(); ++i)
      if (!std::isnan(choice.losses[i]) &&
          (at == choice.losses.size() || choice.losses[i] < choice.losses[at]))
        at = i;
    return at;
  };
  choice.rates = o.rates;
  std::sort(choice.rates.rbegin(), choice.rates.rend());
  if (search.held().size() == 0) {
    choice.rate = choice.rates[choice.rates.size() / 2];
  } else {
    for (const double rate : choice.rates) choice.losses.push_back(try_rate(rate));
    for (int grown = 0; grown < kMostGrowth; ++grown) {
      const std::size_t at = best();
      if (at == 0) {
        choice.rates.insert(choice.rates.begin(), choice.rates.front() * kRateRatio);
        choice.losses.insert(choice.losses.begin(), try_rate(choice.rates.front()));
      } else if (at + 1 >= choice.rates.size()) {
        choice.rates.push_back(choice.rates.back() / kRateRatio);
        choice.losses.push_back(try_rate(choice.rates.back()));
      } else {
        break;
      }
    }
    const std::size_t at = best();
    if (at < choice.rates.size()) choice.rate = choice.rates[at];
  }
  result.after = result.before;
  if (choice.rate > 0) {
    Trial t = search.run(choice.rate, o.epochs, "adapting (backpropagation)");
    steps += static_cast<std::uint64_t>(o.epochs * search.steps_of_epoch());
    choice.epochs = t.epochs;
    choice.diverged = t.diverged;
    result.curve = std::move(t.curve);
    result.after = evaluate_float(golden, t.params, test);
    if (!result.curve.empty()) result.curve.back().accuracy = result.after.percent();
  }
  result.seconds = seconds_since(begin);
  result.cost = backprop_cost(folded, trainable_layers(folded, layers), batch, steps);
  result.forward_passes = static_cast<std::uint64_t>(std::llround(result.cost.passes));
  return result;
}

}  // namespace lastmile
