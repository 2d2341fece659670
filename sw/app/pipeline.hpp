// SPDX-License-Identifier: Apache-2.0
// The stages that every experiment goes through before anything adapts: data, network,
// pre-training, quantization.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sw/app/source.hpp"
#include "sw/base/progress.hpp"
#include "sw/data/task.hpp"
#include "sw/golden/params.hpp"
#include "sw/golden/trainer.hpp"
#include "sw/graph/network.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile {

// Where messages for people go; empty: nowhere. Never stdout, which belongs to results.
using Say = std::function<void(const std::string&)>;

struct PretrainOptions {
  int epochs = 0;  // 0: as many as the task needs (default_epochs)
  double learning_rate = 0.05;
  double weight_decay = 1e-4;
  int batch = 64;
  std::uint64_t seed = 1;
};
[[nodiscard]] int default_epochs(const Task& task);

// What the data fix of a network.
[[nodiscard]] TaskShape shape_of(const Task& task);

struct Pretrained {
  Network network;  // as described, with batch norm
  FloatParams<float> params;
  std::optional<QuantizedNetwork> integers = {};  // of an int8 model: its own
  bool trained = true;                            // by this run
};
[[nodiscard]] Pretrained pretrain(const Task& task, const Network& network,
                                  const PretrainOptions& options, int threads, const Say& say,
                                  const ProgressOptions& progress);

// Where a run starts: with the float weights of `checkpoint` (.lmc, .npz), else with those that
// come with the network, else with what pre-training gives.
[[nodiscard]] Pretrained starting_point(const Task& task, NetworkSource source,
                                        const std::filesystem::path& checkpoint,
                                        const PretrainOptions& options, int threads, const Say& say,
                                        const ProgressOptions& progress);

// Calibrates on the first `calibration_examples` of the pre-training data.
struct QuantizeStageOptions {
  QuantizeOptions quantize;
  int calibration_examples = 512;
};
[[nodiscard]] QuantizedNetwork quantize_stage(const Pretrained& pretrained, const Task& task,
                                              const QuantizeStageOptions& options, int threads);

// The same, but an int8 model stays as it is.
[[nodiscard]] QuantizedNetwork integers_of(const Pretrained& pretrained, const Task& task,
                                           const QuantizeStageOptions& options, int threads);

}  // namespace lastmile
