// SPDX-License-Identifier: Apache-2.0
// Tile sizes of CONV2D, DEPTHWISE and POOL for one build of the NPU (cmodel/numeric/CONTRACT.md,
// Tiles, scratchpad, traffic). Tiles never change a result; they decide traffic and cycles.
#pragma once

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile {

// Sets tile_n, tile_h, tile_w, tile_c, row_pitch and flag PACKED of a descriptor whose shape fields
// (n, in_*, out_*, kernel, stride, dilation, groups, cin_group, flags W8) are set; descriptors of
// other commands stay as they are. Deterministic. Among the tiles that fit, the one with the fewest
// estimated cycles wins (loading overlaps computing but for the first tile), words read over the
// bus counting a little. Error (input) when not even one output position fits the scratchpad: names
// the bytes needed and ACT_BYTES.
void choose_tiles(spec::Descriptor& d, const spec::HardwareParams& hw);

}  // namespace lastmile
