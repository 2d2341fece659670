// SPDX-License-Identifier: Apache-2.0
// Against what a forward-gradient step is held: backpropagation on the same array, the forward
// gradient as its paper has it, the physical floor, and schedules that the hardware does not have.
//
// Backpropagation, per layer with weights: the product for the input's error (the forward product
// with weights and error swapped; a stride of s becomes s * s products over the taps that meet; the
// mask of the activation below is read and applied as it is stored) and the product for the
// weights' gradient (patches of the input times the error; the patches are made on chip, partial
// sums stay in the accumulators). Errors are 8 bits, gradients 16, as generous as the array allows.
// Pools spread the error over their input; where several layers read a tensor their errors are
// added; SOFTMAX makes the first error. Bias gradients are summed as the errors pass and cost
// nothing. The optimizer reads weight and gradient and writes the weight (momentum: reads velocity
// and gradient and writes velocity besides), layer by layer, so that only one gradient is alive.
#pragma once

#include <string>
#include <vector>

#include "sw/profile/energy.hpp"
#include "sw/profile/planned.hpp"

namespace lastmile::profile {

struct BackpropOptions {
  bool momentum = false;
  bool recompute = false;  // keep only some activations, compute the others again
};

// What a way of training needs besides weights, biases, tables, commands and the batch.
struct Scratch {
  std::uint64_t activations = 0;  // the most live at once, errors and gradients included
  std::uint64_t copies = 0;       // perturbed weights, momentum
  [[nodiscard]] std::uint64_t bytes() const { return activations + copies; }
};

struct Alternative {
  std::string name;
  CounterFile file;
  Scratch scratch;
};

// The commands of one step of backpropagation; program: its forward part (filled in).
[[nodiscard]] std::vector<PlannedCommand> backprop_commands(const QuantizedNetwork& network,
                                                            Variant variant, int batch,
                                                            const spec::HardwareParams& hw,
                                                            const BackpropOptions& options,
                                                            Program& program);
// bytes per activation, error, weight and gradient: 1, 1, 2, 2 in fixed point; 4 each in float.
struct Widths {
  std::uint64_t activation = 1, error = 1, weight = 2, gradient = 2;
};
[[nodiscard]] Scratch backprop_scratch(const QuantizedNetwork& network, Variant variant, int batch,
                                       const BackpropOptions& options, const Widths& widths);

// like: the measured step of the same network, variant and batch.
[[nodiscard]] Alternative backprop(const QuantizedNetwork& network, Variant variant,
                                   const CounterFile& like, const BackpropOptions& options,
                                   const DeviceOpener& count_only);
// Weights are perturbed in memory before each pass (a second copy), and updated after.
[[nodiscard]] Alternative as_published(const QuantizedNetwork& network, const Program& program,
                                       const CounterFile& like, const DeviceOpener& count_only);
// Every multiplier busy in every cycle, the batch read once, trained weights read and written once
// a step, other weights read once, activations never off chip.
[[nodiscard]] Alternative physical_floor(const Program& program, const CounterFile& like);

// Weight bytes over the bus in a step in units of the trained weights' bytes.
[[nodiscard]] double weight_movement(const CounterFile& file);

struct Schedule {
  std::string name, how;
  CounterFile file;
  std::uint64_t activation_bytes = 0;  // live off chip at most
  std::uint64_t on_chip_bytes = 0;
};
// The step as it is; the update of step t applied while step t + 1 loads its weights; a layer's
// weights kept on chip for all tiles; that with both halves of a pair and the update, which is the
// floor of one read and one write; both halves of a pair on one fetch per tile (buffers of twice
// the depth); that with the update.
[[nodiscard]] std::vector<Schedule> schedules(const QuantizedNetwork& network, Variant variant,
                                              const Program& program, const CounterFile& like,
                                              const DeviceOpener& count_only);

}  // namespace lastmile::profile
