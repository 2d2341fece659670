// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/readout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "sw/base/detmath.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/base/stop.hpp"

namespace lastmile {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr std::uint64_t kSplitStream = 0x73706c6974, kEpochStream = 0x65706f6368,
                        kRoundStream = 0x726f756e64, kInnerStream = 0x696e6e6572;

[[noreturn]] void usage(const std::string& what) { throw Error(ErrorKind::usage, what); }

// Cosine from 1 to `last`, at the middle of each step.
double schedule(std::uint32_t step, std::uint32_t steps, double last) {
  const double t = (static_cast<double>(step) + 0.5) / static_cast<double>(steps);
  return last + (1 - last) * 0.5 * (1 + det_sincos(kPi * t).cos);
}

class Training {
 public:
  Training(ReadoutTarget& target, const ReadoutSplit& split, const ReadoutRunOptions& options,
           ReadoutJournalWriter* journal, const ReadoutCallbacks& callbacks)
      : target_(target),
        split_(split),
        o_(options),
        journal_(journal),
        callbacks_(callbacks),
        sampler_(options.seed, split.train, options.batch) {}

  ReadoutOutcome run(const ReadoutJournal& from) {
    const ReadoutWeights base = target_.weights();
    out_.choice = from.choice ? *from.choice : search(base);
    if (!from.choice && journal_ != nullptr) journal_->append(out_.choice);
    if (callbacks_.on_choice) callbacks_.on_choice(out_.choice);
    std::uint32_t step = 0;
    target_.set_weights(base);
    for (const ReadoutSnapshot& s : from.snapshots) {
      target_.set_weights(s.weights);
      note(s);
      step = s.step;
    }
    if (from.snapshots.empty()) snapshot(0, 0);
    while (step < o_.steps) {
      const double loss = learn(step, o_.steps, out_.choice.rate);
      ++step;
      if (snapshot_after(step, o_.steps)) snapshot(step, loss);
    }
    if (step < o_.all_steps()) train_inner(step);
    finish(from.end.has_value());
    return std::move(out_);
  }

 private:
  double learn(std::uint32_t step, std::uint32_t steps, int rate) {
    const double loss = target_.learn(sampler_.first(step), learn_seed(o_.seed, step),
                                      readout_step_register(o_, rate, step, steps));
    if (callbacks_.on_step) callbacks_.on_step({step + 1, loss});
    return loss;
  }

  [[nodiscard]] bool snapshot_after(std::uint64_t step, std::uint64_t steps) const {
    const auto count = static_cast<std::uint64_t>(o_.snapshots);
    return step == steps || step * count / steps != (step - 1) * count / steps;
  }

  // From the best snapshot of the readouts on. What the differences are measured against comes from
  // there, also when the run goes on from a later snapshot: the same bits.
  void train_inner(std::uint32_t step) {
    const double rate = candidate_rate(1, out_.choice.rate);
    const ReadoutWeights now = target_.weights();
    target_.set_weights(readouts_);
    ForwardGradientOptions forward;
    forward.steps = o_.inner_steps;
    forward.pairs = o_.pairs;
    forward.seed = sub_seed(o_.seed, kInnerStream);
    forward.seed_rule = o_.seed_rule;
    std::vector<std::uint64_t> probes;
    for (int i = 0; i < numeric::kScaleProbes; ++i) probes.push_back(probe_seed(forward.seed, i));
    const std::uint64_t scale = numeric::scale_of(differences(o_.steps, probes));
    if (step > o_.steps) target_.set_weights(now);
    while (step < o_.all_steps()) {
      const std::uint32_t k = step - o_.steps;
      const std::vector<std::uint64_t> seeds = pair_seeds(forward, k);
      const std::vector<std::int64_t> slopes = differences(step, seeds);
      const double factor = schedule(k, o_.inner_steps, o_.final_factor);
      const double loss =
          target_.learn_again(learn_seed(o_.seed, step), encode_step_factor(rate * factor));
      target_.move(seeds, coefficients(Estimator::scaled, slopes, scale),
                   encode_step_factor(factor));
      ++step;
      if (callbacks_.on_step) callbacks_.on_step({step, loss});
      if (snapshot_after(k + 1, o_.inner_steps)) snapshot(step, loss);
    }
  }

  // L+ - L- of each seed on the batch of a step.
  std::vector<std::int64_t> differences(std::uint32_t step, std::span<const std::uint64_t> seeds) {
    std::vector<std::int64_t> out;
    for (const std::uint64_t seed : seeds) {
      const ReadoutTarget::LossPair p = target_.pair(sampler_.first(step), seed);
      out.push_back(p.plus - p.minus);
    }
    return out;
  }

  [[nodiscard]] Accuracy held() {
    return target_.score(static_cast<std::uint32_t>(split_.train),
                         static_cast<std::uint32_t>(split_.held()));
  }

  // Without examples held out there is nothing to choose by: one from the middle.
  ReadoutChoice search(const ReadoutWeights& base) {
    ReadoutChoice choice;
    choice.rate = o_.rates / 2;
    if (split_.held() == 0 || o_.rates == 1) return choice;
    const std::uint32_t steps = search_steps(o_);
    for (int i = 0; i < o_.rates; ++i) {
      target_.set_weights(base);
      for (std::uint32_t step = 0; step < steps; ++step) {
        stop_if_asked();
        learn(step, steps, i);
      }
      out_.search_steps += steps;
      choice.losses.push_back(held().loss);
    }
    choice.rate = static_cast<int>(std::min_element(choice.losses.begin(), choice.losses.end()) -
                                   choice.losses.begin());
    return choice;
  }

  void snapshot(std::uint32_t step, double loss) {
    ReadoutSnapshot s;
    s.step = step;
    s.loss = loss;
    if (split_.held() != 0) {
      const Accuracy a = held();
      s.held_loss = a.loss;
      s.held_correct = a.correct;
    }
    s.weights = target_.weights();
    if (journal_ != nullptr) journal_->append(s);
    note(s);
  }

  void note(const ReadoutSnapshot& s) {
    if (callbacks_.on_snapshot) callbacks_.on_snapshot(s);
    const bool better =
        out_.snapshots.empty() || split_.held() == 0 || s.held_loss < out_.held_loss;
    if (better) {
      out_.best_step = s.step;
      out_.held_loss = s.held_loss;
      best_ = s.weights;
      if (s.step <= o_.steps) readouts_ = s.weights;
    }
    out_.snapshots.push_back({s.step, s.loss, s.held_loss, s.held_correct, {}});
  }

  void finish(bool known) {
    target_.set_weights(best_);
    if (journal_ != nullptr && !known) journal_->append_end(out_.best_step);
    if (split_.held() == 0) out_.held_loss = std::numeric_limits<double>::quiet_NaN();
  }

  ReadoutTarget& target_;
  const ReadoutSplit& split_;
  const ReadoutRunOptions& o_;
  ReadoutJournalWriter* journal_;
  const ReadoutCallbacks& callbacks_;
  RecordSampler sampler_;
  ReadoutWeights best_, readouts_;  // of all snapshots, of those before inner layers moved
  ReadoutOutcome out_;
};

}  // namespace

double candidate_rate(double largest, int index) {
  for (int i = 0; i < index; ++i) largest /= kRateRatio;
  return largest;
}

ReadoutTarget::LossPair ReadoutTarget::pair(std::uint32_t, std::uint64_t) {
  usage("inner layers of a target that has none to train");
}
double ReadoutTarget::learn_again(std::uint64_t, std::uint32_t) {
  usage("inner layers of a target that has none to train");
}
void ReadoutTarget::move(std::span<const std::uint64_t>, std::span<const std::int8_t>,
                         std::uint32_t) {
  usage("inner layers of a target that has none to train");
}

void check_options(const ReadoutRunOptions& o, std::size_t examples) {
  if (o.steps < 1) usage(fmt::format("steps is {}, expected at least 1", o.steps));
  if (o.inner_steps > UINT32_MAX - o.steps)
    usage(fmt::format("steps is {} and inner steps is {}, expected a sum below 2^32", o.steps,
                      o.inner_steps));
  if (o.batch < 1 || static_cast<std::size_t>(o.batch) > examples)
    usage(fmt::format("batch is {}, expected 1..{} (the examples to adapt on)", o.batch, examples));
  if (o.rates < 1 || o.rates > 6) usage(fmt::format("rates is {}, expected 1..6", o.rates));
  if (!(o.largest_rate > 0 && std::isfinite(o.largest_rate)))
    usage(fmt::format("largest rate is {}, expected a number above 0", o.largest_rate));
  if (o.snapshots < 1) usage(fmt::format("snapshots is {}, expected at least 1", o.snapshots));
  if (o.pairs < 1 || o.pairs > 8) usage(fmt::format("pairs is {}, expected 1..8", o.pairs));
  if (!(o.final_factor >= 0 && o.final_factor <= 1))
    usage(fmt::format("final factor is {}, expected 0..1", o.final_factor));
}

ReadoutSplit split_records(std::span<const Label> labels, std::uint64_t seed, int percent,
                           std::size_t least, std::span<const std::uint32_t> copy_of) {
  std::vector<std::uint32_t> all(labels.size());
  std::iota(all.begin(), all.end(), 0U);
  Rng rng(sub_seed(seed, kSplitStream), 0);
  rng.shuffle(std::span(all));
  // One of each example's copies stands for all of them.
  const auto original = [&](std::uint32_t i) { return copy_of.empty() ? i : copy_of[i]; };
  std::unordered_set<std::uint32_t> seen;
  std::vector<std::uint32_t> by_class;
  for (const std::uint32_t i : all)
    if (seen.insert(original(i)).second) by_class.push_back(i);
  // Class by class, evenly spaced ones of the whole row are held out (at 10 per cent every tenth):
  // the share of each class, give or take one example.
  std::stable_sort(by_class.begin(), by_class.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return labels[a] < labels[b]; });
  std::unordered_set<std::uint32_t> held;
  const auto share = static_cast<std::size_t>(percent);
  for (std::size_t i = 0; i < by_class.size(); ++i)
    if (by_class.size() >= least && (i * share + 50) % 100 < share)
      held.insert(original(by_class[i]));
  ReadoutSplit out;
  for (const std::uint32_t i : all)
    if (!held.contains(original(i))) out.order.push_back(i);
  out.train = out.order.size();
  for (const std::uint32_t i : all)
    if (held.contains(original(i))) out.order.push_back(i);
  return out;
}

RecordSampler::RecordSampler(std::uint64_t seed, std::size_t train, int batch)
    : seed_(epoch_seed(seed)), train_(train), batch_(static_cast<std::size_t>(batch)) {}

std::uint32_t RecordSampler::first(std::uint32_t step) {
  const std::size_t batches = std::max<std::size_t>(1, train_ / batch_);
  const std::uint64_t epoch = step / batches;
  if (epoch != epoch_) {
    epoch_ = epoch;
    Rng rng(seed_, epoch);
    const std::size_t rest = train_ > batches * batch_ ? train_ - batches * batch_ : 0;
    offset_ = static_cast<std::uint32_t>(rng.below(rest + 1));
    order_.resize(batches);
    std::iota(order_.begin(), order_.end(), 0U);
    rng.shuffle(std::span(order_));
  }
  return offset_ + order_[step % batches] * static_cast<std::uint32_t>(batch_);
}

std::uint64_t epoch_seed(std::uint64_t seed) { return sub_seed(seed, kEpochStream); }

std::uint32_t search_steps(const ReadoutRunOptions& o) {
  return std::max<std::uint32_t>(1, o.steps / kSearchShare);
}

std::uint32_t readout_step_register(const ReadoutRunOptions& o, int rate, std::uint32_t step,
                                    std::uint32_t steps) {
  return encode_step_factor(candidate_rate(1, rate) * schedule(step, steps, o.final_factor));
}

std::uint64_t learn_seed(std::uint64_t seed, std::uint32_t step) {
  return sub_seed(seed, kRoundStream) + step;
}

ReadoutOutcome train_readout(ReadoutTarget& target, const ReadoutSplit& split,
                             const ReadoutRunOptions& options, ReadoutJournalWriter* journal,
                             const ReadoutJournal& from, const ReadoutCallbacks& callbacks) {
  check_options(options, split.train);
  return Training(target, split, options, journal, callbacks).run(from);
}

int record_layer(const Network& network) {
  const Layer& head = network.layers[static_cast<std::size_t>(network.logits_layer())];
  const int in = head.inputs[0];
  return head.op == Op::fully_connected && in >= 0 &&
                 network.layers[static_cast<std::size_t>(in)].op == Op::concat
             ? in
             : -1;
}

}  // namespace lastmile
