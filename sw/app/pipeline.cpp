// SPDX-License-Identifier: Apache-2.0
#include "sw/app/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/golden/golden.hpp"
#include "sw/golden/npz.hpp"

namespace lastmile {

int default_epochs(const Task& task) {
  switch (task.kind) {
    case TaskKind::glyphs:
      return 8;
    case TaskKind::images:
      return 6;
    case TaskKind::audio:
      return 40;
  }
  return 8;
}

TaskShape shape_of(const Task& task) { return {task.pretrain.shape, task.pretrain.classes}; }

Pretrained pretrain(const Task& task, const Network& network, const PretrainOptions& options,
                    int threads, const Say& say, const ProgressOptions& progress) {
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
  callbacks.on_step = [&](std::int64_t, std::int64_t, const BatchLoss&) {
    stop_if_asked();
    bar.add();
  };
  callbacks.on_epoch = [&](const EpochReport& r) {
    bar.note(fmt::format("loss {:.3f}, accuracy {:.1f} %", r.loss, 100 * r.accuracy));
  };
  const auto reports =
      train<float>(network, result.params, examples,
                   memory_source<float>(task.pretrain.x, task.pretrain.y), o, callbacks);
  bar.finish();
  if (say && !reports.empty())
    say(fmt::format("pre-trained {} on {}: {} epochs, loss {:.3f}, accuracy {:.1f} %", network.name,
                    task.name, o.epochs, reports.back().loss, 100 * reports.back().accuracy));
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

QuantizedNetwork quantize_stage(const Pretrained& pretrained, const Task& task,
                                const QuantizeStageOptions& options, int threads) {
  if (options.calibration_examples < 1)
    throw Error(ErrorKind::usage, fmt::format("calibration examples is {}, expected at least 1",
                                              options.calibration_examples));
  const std::size_t n =
      std::min(task.pretrain.size(), static_cast<std::size_t>(options.calibration_examples));
  const Dataset calibration = slice(task.pretrain, 0, n);
  const Golden<float> golden(pretrained.network, threads);
  return quantize(pretrained.network, pretrained.params,
                  calibrate(golden, pretrained.params, calibration.x), options.quantize);
}

QuantizedNetwork integers_of(const Pretrained& pretrained, const Task& task,
                             const QuantizeStageOptions& options, int threads) {
  if (pretrained.integers) return *pretrained.integers;
  return quantize_stage(pretrained, task, options, threads);
}

}  // namespace lastmile
