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

#include "cmodel/spec/hardware.hpp"
#include "sw/app/source.hpp"
#include "sw/base/progress.hpp"
#include "sw/data/task.hpp"
#include "sw/golden/params.hpp"
#include "sw/golden/trainer.hpp"
#include "sw/graph/network.hpp"
#include "sw/quantizer/equalize.hpp"
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

// What was taken of the data, and what was not, for people: of sets that were named.
void say_data(const Task& task, const Say& say);

// What the data fix of a network.
[[nodiscard]] TaskShape shape_of(const Task& task);

struct Pretrained {
  Network network;  // as described, with batch norm
  FloatParams<float> params;
  std::optional<QuantizedNetwork> integers = {};  // of an int8 model: its own
  bool trained = true;                            // by this run
  // Of a prepared network: what batch norm made of the outputs of each layer (QuantizedLayer::mean
  // and deviation); empty before, and for layers without it.
  struct Statistics {
    std::vector<float> mean, deviation;
  };
  std::vector<Statistics> statistics = {};
};

// What a network says of its data goes into the task's options, so that the data are prepared alike
// and checked. `file`: weights (.lmc), integers (.lmq) or a model, of which the first two may have
// kept how their data were prepared; one that says nothing gets a note of what it lacks. `network`:
// what --network names, for the size of its input, where the file does not say. Either may be
// empty.
void use_network(TaskOptions& task, const std::string& network, const std::filesystem::path& file,
                 const Say& say);

[[nodiscard]] Pretrained pretrain(const Task& task, const Network& network,
                                  const PretrainOptions& options, int threads, const Say& say,
                                  const ProgressOptions& progress);

// Where a run starts: with the float weights of `checkpoint` (.lmc, .npz), else with those that
// come with the network, else with what pre-training gives.
[[nodiscard]] Pretrained starting_point(const Task& task, NetworkSource source,
                                        const std::filesystem::path& checkpoint,
                                        const PretrainOptions& options, int threads, const Say& say,
                                        const ProgressOptions& progress);

// Whose examples the ranges come from: the pre-training data's, those of the domain that will be
// met (the examples to adapt on; their labels are not looked at), or both.
enum class CalibrateOn { source, target, both };

// Calibrates on a sample of `calibration_examples`, of each domain that is asked.
struct QuantizeStageOptions {
  QuantizeOptions quantize;
  int calibration_examples = 512;
  CalibrateOn calibrate_on = CalibrateOn::both;
  Equalization equalize = Equalization::automatic;
};

// The float network as the hardware runs and quantizes it best, which is what it is compared with
// from here on: batch norm folded, layers rewritten (sw/quantizer/rewrite.hpp), channels equalized
// (sw/quantizer/equalize.hpp). An int8 model stays as it is.
[[nodiscard]] Pretrained prepared(Pretrained pretrained, const Task& task,
                                  const QuantizeStageOptions& options, int threads, const Say& say);

// Error(input), before any time is spent on training, for a network that the hardware does not
// run: with weights as they are drawn, on a few of the data. The network that was tried.
QuantizedNetwork require_runnable(const Network& network, const Task& task,
                                  const QuantizeStageOptions& options,
                                  const spec::HardwareParams& hardware, int batch);

[[nodiscard]] std::vector<float> calibration_sample(const Task& task,
                                                    const QuantizeStageOptions& options);
[[nodiscard]] QuantizedNetwork quantize_stage(const Pretrained& pretrained, const Task& task,
                                              const QuantizeStageOptions& options, int threads);

// Loss::reconstruction on data of normal (0) and anomalous (1) examples: what is trained and
// adapted on, and calibrated with, are the normal ones.
void keep_normal(const Network& network, Task& task);
// The same of one data set, whatever the network is.
void keep_normal(Dataset& data, const std::string& task);
// An int8 model of an autoencoder does not say how large its errors are: they are seen on the data.
[[nodiscard]] QuantizedNetwork with_difference(QuantizedNetwork network, const Task& task,
                                               const QuantizeStageOptions& options, int threads);

// The same, but an int8 model stays as it is.
[[nodiscard]] QuantizedNetwork integers_of(const Pretrained& pretrained, const Task& task,
                                           const QuantizeStageOptions& options, int threads);

}  // namespace lastmile
