// SPDX-License-Identifier: Apache-2.0
// Functional coverage: which classes of commands, shapes, memories and errors the suites met. A
// coverpoint is a closed list of bins; its grade is the share of bins that were hit, and the grade
// of the whole the average over the coverpoints, so that a large cross does not outweigh the rest.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "tests/cmodel/reference.hpp"

namespace functional {

namespace spec = lastmile::spec;
using Names = std::vector<std::string>;

inline Names cross(const Names& a, const Names& b) {
  Names out;
  for (const std::string& x : a)
    for (const std::string& y : b) out.push_back(fmt::format("{} {}", x, y));
  return out;
}

class Bins {
 public:
  explicit Bins(const spec::HardwareParams& hw) : hw_(hw) {
    const Names tiled = {"CONV2D", "DEPTHWISE", "POOL"}, matrix = {"CONV2D", "DEPTHWISE"};
    define("opcode", {"CONV2D", "DEPTHWISE", "POOL maximum", "POOL average", "ADD", "SOFTMAX",
                      "LOSS", "UPDATE", "END"});
    define("base register", {"input", "addend or labels", "output"});
    define("stride", cross(tiled, {"1", "2", "3", "unequal"}));
    define("padding", cross(tiled, {"none", "top", "left", "both", "end"}));
    define("kernel", cross(tiled, {"1x1", "row", "column", "square", "rectangle"}));
    define("dilation", cross(tiled, {"none", "rows", "columns", "both"}));
    define("groups", {"one", "several", "multiplier 1", "multiplier above 1"});
    define("image", cross(tiled, {"point", "row", "column", "plane"}));
    define("tiles", cross(cross(tiled, {"n", "h", "w"}), {"one", "equal", "last smaller"}));
    define("channel chunks", cross(tiled, {"one", "equal", "last smaller"}));
    define("channels against rows", {"fewer", "as many", "multiple", "remainder"});
    define("channels against columns",
           cross(matrix, {"fewer", "as many", "multiple", "remainder"}));
    define("packed", {"yes", "no"});
    define("weights", cross(cross({"int8", "int16"}, {"sign", "gaussian"}),
                            {"plain", "positive", "negative"}));
    define("bias", {"none", "plain", "positive", "negative"});
    define("mask", cross({"weights", "biases", "update"}, {"all", "some", "none"}));
    define("perturbation shift", cross({"weights", "biases"}, {"0", "1", "more"}));
    define("output", cross(matrix, {"int8", "int16", "fused addition"}));
    define("alignment", cross({"input", "output", "addend"}, {"aligned", "inside a word"}));
    define("clamp", cross(tiled, {"full", "low", "high", "both"}));
    define("zero point", cross({"input", "output"}, {"lowest", "zero or above", "negative"}));
    define("addition shift", {"20", "less", "0"});
    define("addition exponents", {"left", "none", "right"});
    define("softmax classes", {"1", "less than a word", "more than a word"});
    define("loss labels", cross({"byte", "two bytes"}, {"sum only", "each loss stored"}));
    define("loss shift", {"0", "1 to 16", "more"});
    define("update", cross({"int8", "int16", "int32"}, {"sign", "gaussian"}));
    define("pairs", {"1", "2 to 7", "8"});
    define("update shift", {"0", "1 to 16", "17 and more"});
    define("queue", {"1", "2 to 4", "more"});
    define("error", {"NONE", "OPCODE", "FIELD", "ADDRESS", "SHAPE", "TILE", "QUEUE", "REGISTER",
                     "BUS_READ", "BUS_WRITE", "WATCHDOG"});
    define("shape rule", {"GROUPS", "K", "PITCH", "RANGE", "PACK", "CHUNK", "FLAGS"});
    define("tile rule", {"1", "2"});
    define("address", {"IN", "IN2", "OUT", "W", "BIAS", "RQ"});
    define("engine of a fault", {"FETCH", "LOAD", "WEIGHT", "PARAM", "DRAIN", "STORE", "ELEMENT"});
    define("memory", cross(cross({"in order", "bursts reordered", "beats interleaved"},
                                 {"no stalls", "few stalls", "many stalls"}),
                           {"full bandwidth", "limited"}));
    define("latency", {"1", "2 to 20", "more"});
  }

  void queue(std::size_t commands) {
    hit("queue", commands == 1 ? "1" : commands <= 4 ? "2 to 4" : "more");
  }

  void memory(std::uint64_t latency, std::uint64_t stall, std::uint64_t reorder,
              std::uint64_t bandwidth) {
    hit("latency", latency <= 1 ? "1" : latency <= 20 ? "2 to 20" : "more");
    static const char* const orders[] = {"in order", "bursts reordered", "beats interleaved"};
    hit("memory", std::string(orders[reorder]) +
                      (stall == 0   ? " no stalls"
                       : stall < 30 ? " few stalls"
                                    : " many stalls") +
                      (bandwidth == 0 ? " full bandwidth" : " limited"));
  }

  void outcome(spec::Error code, std::uint32_t info) {
    using spec::Error;
    if (code == Error::unsupported_) return;
    hit("error", std::string(spec::to_string(code)));
    if (code == Error::shape_)
      hit("shape rule", std::string(spec::to_string(static_cast<spec::ShapeRule>(info))));
    if (code == Error::tile_) hit("tile rule", std::to_string(info));
    if (code == Error::address_) {
      const auto f = static_cast<spec::Field>(info);
      hit("address", f == spec::Field::in_addr     ? "IN"
                     : f == spec::Field::in2_addr  ? "IN2"
                     : f == spec::Field::out_addr  ? "OUT"
                     : f == spec::Field::w_addr    ? "W"
                     : f == spec::Field::bias_addr ? "BIAS"
                                                   : "RQ");
    }
    if (code == Error::bus_read_ || code == Error::bus_write_ || code == Error::watchdog_) {
      switch (static_cast<spec::Engine>(info)) {
        case spec::Engine::fetch_:
          return hit("engine of a fault", "FETCH");
        case spec::Engine::load_:
          return hit("engine of a fault", "LOAD");
        case spec::Engine::weight_:
          return hit("engine of a fault", "WEIGHT");
        case spec::Engine::param_:
          return hit("engine of a fault", "PARAM");
        case spec::Engine::drain_:
          return hit("engine of a fault", "DRAIN");
        case spec::Engine::store_:
          return hit("engine of a fault", "STORE");
        default:
          return hit("engine of a fault", "ELEMENT");
      }
    }
  }

  // A command that was executed.
  void command(const spec::Descriptor& d, const reference::Registers& r) {
    const auto op = static_cast<spec::Opcode>(d.opcode);
    const std::string name(spec::to_string(op));
    if (op == spec::Opcode::end_) return hit("opcode", "END");
    if (d.has(spec::kFlagInBatch)) hit("base register", "input");
    if (d.has(spec::kFlagIn2Label)) hit("base register", "addend or labels");
    if (d.has(spec::kFlagOutBatch)) hit("base register", "output");
    const bool maximum = d.has(spec::kFlagMax);
    hit("opcode", op != spec::Opcode::pool_ ? name : maximum ? "POOL maximum" : "POOL average");
    const auto word = static_cast<std::uint32_t>(hw_.bus_bytes);
    const auto placed = [&](const char* what, std::uint32_t address) {
      hit("alignment", std::string(what) + (address % word == 0 ? " aligned" : " inside a word"));
    };
    if (op != spec::Opcode::update_) {
      placed("input", d.in_addr);
      if (op != spec::Opcode::loss_ || d.has(spec::kFlagLosses)) placed("output", d.out_addr);
    }
    if (lastmile::npu::uses_tiles(op)) tiled(d, name);
    if (lastmile::npu::uses_weights(op)) matrix(d, r, name);
    if (op == spec::Opcode::add_ || d.has(spec::kFlagResAdd)) {
      placed("addend", d.in2_addr);
      hit("addition shift", d.add_shift == 20 ? "20" : d.add_shift != 0 ? "less" : "0");
      for (const std::int32_t e : {d.e1, d.e2, d.eo})
        hit("addition exponents", e > 0 ? "left" : e == 0 ? "none" : "right");
    }
    if (op == spec::Opcode::softmax_)
      hit("softmax classes", d.in_c == 1      ? "1"
                             : d.in_c <= word ? "less than a word"
                                              : "more than a word");
    if (op == spec::Opcode::loss_) {
      hit("loss labels", std::string(d.in_c > 255 ? "two bytes" : "byte") +
                             (d.has(spec::kFlagLosses) ? " each loss stored" : " sum only"));
      hit("loss shift", d.e1 == 0 ? "0" : d.e1 >= -16 ? "1 to 16" : "more");
    }
    if (op == spec::Opcode::update_) {
      const std::string width = d.has(spec::kFlagW8)    ? "int8"
                                : d.has(spec::kFlagW32) ? "int32"
                                                        : "int16";
      hit("update", width + (r.distribution != 0 ? " gaussian" : " sign"));
      hit("pairs", r.pairs == 1 ? "1" : r.pairs < 8 ? "2 to 7" : "8");
      const std::uint32_t shift = d.step_shift + r.step_shift;
      hit("update shift", shift == 0 ? "0" : shift < 17 ? "1 to 16" : "17 and more");
      masked("update", d.w_keep);
    }
  }

  // {coverpoint: {bin: hits}}, added to what the file holds already.
  void write(const std::string& path) const {
    nlohmann::json all = nlohmann::json::object();
    if (std::ifstream in(path); in) all = nlohmann::json::parse(in);
    for (const auto& [point, bins] : points_)
      for (const auto& [bin, hits] : bins) {
        nlohmann::json& slot = all[point][bin];
        slot = hits + (slot.is_null() ? 0 : slot.get<std::uint64_t>());
      }
    std::ofstream(path) << all.dump(1) << "\n";
  }
  // To the file that LASTMILE_BINS names, if it does.
  void write_if_asked() const {
    if (const char* path = std::getenv("LASTMILE_BINS")) write(path);
  }

 private:
  void define(const std::string& point, const Names& bins) {
    for (const std::string& b : bins) points_[point][b] = 0;
  }
  void hit(const std::string& point, const std::string& bin) {
    auto& bins = points_.at(point);
    const auto at = bins.find(bin);
    if (at == bins.end()) throw std::logic_error("coverpoint " + point + " has no bin " + bin);
    ++at->second;
  }
  void masked(const char* what, std::uint32_t keep) {
    hit("mask", std::string(what) + (keep >= 256 ? " all" : keep == 0 ? " none" : " some"));
  }

  void tiled(const spec::Descriptor& d, const std::string& op) {
    hit("stride", op + (d.stride_h != d.stride_w ? " unequal"
                        : d.stride_h >= 3        ? " 3"
                        : d.stride_h == 2        ? " 2"
                                                 : " 1"));
    hit("padding", op + (d.pad_top != 0 && d.pad_left != 0 ? " both"
                         : d.pad_top != 0                  ? " top"
                         : d.pad_left != 0                 ? " left"
                                                           : " none"));
    const std::uint64_t bottom =
        lastmile::npu::region_extent(d.out_h, d.stride_h, d.kernel_h, d.dilation_h);
    if (bottom > std::uint64_t{d.in_h} + d.pad_top) hit("padding", op + " end");
    hit("kernel", op + (d.kernel_h == 1 && d.kernel_w == 1 ? " 1x1"
                        : d.kernel_h == 1                  ? " row"
                        : d.kernel_w == 1                  ? " column"
                        : d.kernel_h == d.kernel_w         ? " square"
                                                           : " rectangle"));
    hit("dilation", op + (d.dilation_h > 1 && d.dilation_w > 1 ? " both"
                          : d.dilation_h > 1                   ? " rows"
                          : d.dilation_w > 1                   ? " columns"
                                                               : " none"));
    hit("image", op + (d.out_h == 1 && d.out_w == 1 ? " point"
                       : d.out_h == 1               ? " row"
                       : d.out_w == 1               ? " column"
                                                    : " plane"));
    tiles("tiles", op + " n ", d.n, d.tile_n);
    tiles("tiles", op + " h ", d.out_h, d.tile_h);
    tiles("tiles", op + " w ", d.out_w, d.tile_w);
    tiles("channel chunks", op + " ", d.in_c, d.tile_c);
    const bool wide = d.has(spec::kFlagOut16);
    const bool low = d.act_min > (wide ? -32768 : -128), high = d.act_max < (wide ? 32767 : 127);
    hit("clamp", op + (low && high ? " both" : low ? " low" : high ? " high" : " full"));
  }
  void tiles(const char* point, const std::string& prefix, std::uint32_t size, std::uint32_t tile) {
    hit(point, prefix + (size == tile ? "one" : size % tile == 0 ? "equal" : "last smaller"));
  }
  static std::string against(std::uint32_t size, int lanes) {
    const auto n = static_cast<std::uint32_t>(lanes);
    return size < n ? "fewer" : size == n ? "as many" : size % n == 0 ? "multiple" : "remainder";
  }

  void matrix(const spec::Descriptor& d, const reference::Registers& r, const std::string& op) {
    const bool conv = op == "CONV2D";
    if (conv) {
      hit("groups", d.groups == 1 ? "one" : "several");
      hit("channels against rows", against(d.cin_group, hw_.rows));
      hit("packed", d.has(spec::kFlagPacked) ? "yes" : "no");
    } else {
      hit("groups", d.cout_group == 1 ? "multiplier 1" : "multiplier above 1");
    }
    hit("channels against columns", op + " " + against(conv ? d.cout_group : d.out_c, hw_.cols));
    static const char* const polarities[] = {" plain", " positive", " negative"};
    const bool train = d.has(spec::kFlagWTrain);
    hit("weights", std::string(d.has(spec::kFlagW8) ? "int8" : "int16") +
                       (r.distribution != 0 ? " gaussian" : " sign") +
                       polarities[train ? r.polarity : 0]);
    if (train && r.polarity != 0) {
      masked("weights", d.w_keep);
      hit("perturbation shift", d.w_eps_shift == 0   ? "weights 0"
                                : d.w_eps_shift == 1 ? "weights 1"
                                                     : "weights more");
    }
    const bool bias = d.has(spec::kFlagHasBias);
    hit("bias", bias ? polarities[d.has(spec::kFlagBTrain) ? r.polarity : 0] + 1 : "none");
    if (bias && d.has(spec::kFlagBTrain) && r.polarity != 0) {
      masked("biases", d.b_keep);
      hit("perturbation shift", d.b_eps_shift == 0   ? "biases 0"
                                : d.b_eps_shift == 1 ? "biases 1"
                                                     : "biases more");
    }
    hit("output", op + (d.has(spec::kFlagResAdd)  ? " fused addition"
                        : d.has(spec::kFlagOut16) ? " int16"
                                                  : " int8"));
    const auto zero = [&](const char* what, std::int32_t zp) {
      hit("zero point", std::string(what) + (zp == -128 ? " lowest"
                                             : zp >= 0  ? " zero or above"
                                                        : " negative"));
    };
    zero("input", d.in_zp);
    zero("output", d.out_zp);
  }

  spec::HardwareParams hw_;
  std::map<std::string, std::map<std::string, std::uint64_t>> points_;
};

}  // namespace functional
