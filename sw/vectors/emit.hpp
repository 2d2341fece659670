// SPDX-License-Identifier: Apache-2.0
// Scalar vectors of the numeric contract for RTL benches, generated from cmodel/numeric.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lastmile {

// Writes the files below into `folder` (made if missing) and returns their names. Same bits on
// every run and machine.
//
// Text for $readmemh and for scanf alike: words in hexadecimal separated by blanks, two's
// complement cut to the width that the file's first comment line names for each column; lines that
// start with // are comments. A record is a line, except where the header says otherwise.
//
//   requant.txt   acc, multiplier, exponent, zero point, act_min, act_max -> output, saturated low,
//   high average.txt   sum, count -> average: all sums of up to 16 int8 add.txt       per parameter
//   set: one line of parameters, then 256 lines (x1 = -128..127) of 256 outputs (x2 = -128..127)
//   hash.txt      seed, domain, tensor, row, block -> word
//   gaussian.txt  4096 lines of 16 z: all 65536 inputs in order
//   perturb.txt   per set (eps, shift, limit): one line, then 256 lines (w = -128..127) of 255
//   values (delta of z = -127..127) perturb16.txt w, eps, shift, z, minus, limit -> value, clipped
//   update.txt    w, g, mantissa, shift, random, limit -> value, zero, clipped
//   loss.txt      classes, multiplier, shift, label, logits... -> loss, correct
//   softmax.txt   classes, multiplier, left shift, diff_min, inputs... -> outputs...
//
// Error(input) naming the file that cannot be written.
std::vector<std::string> emit_vectors(const std::filesystem::path& folder);

}  // namespace lastmile
