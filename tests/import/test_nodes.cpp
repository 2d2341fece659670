// SPDX-License-Identifier: Apache-2.0
// ONNX's operators one by one: cases of nodes.json, whose outputs come from a second description of
// the operators (make_nodes.py).
#include <doctest/doctest.h>

#include "sw/import/model.hpp"

#if __has_include(<onnx/onnx_pb.h>) && __has_include(<google/protobuf/message.h>)

#include <cmath>
#include <set>

#include "sw/base/io.hpp"
#include "sw/golden/golden.hpp"
#include "tests/import/node_cases.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using nlohmann::json;
using testing::file_of;

// Channels first, without the batch, to rows, columns, channels.
std::vector<float> channels_last(const std::vector<float>& v, const Shape& s) {
  std::vector<float> out;
  for (int h = 0; h < s.h; ++h)
    for (int w = 0; w < s.w; ++w)
      for (int c = 0; c < s.c; ++c)
        out.push_back(v[static_cast<std::size_t>((c * s.h + h) * s.w + w)]);
  return out;
}

TEST_CASE("import: ONNX's operators give what their definitions say") {
  const json all = json::parse(read_text_file("tests/import/nodes.json"));
  std::set<std::string> covered;
  for (const json& c : all["cases"]) {
    const std::string name = c["name"].get<std::string>();
    CAPTURE(name);
    for (const json& n : c["nodes"]) covered.insert(n["op"].get<std::string>());
    const std::string why = testing::error_of([&] {
      const ImportedModel m = parse_onnx(file_of(c), "case.onnx");
      const auto x = channels_last(c["input"]["values"].get<std::vector<float>>(), m.network.input);
      const auto y = Golden<float>(m.network).trace(m.params, x).back().post;
      const auto expected = c["output"]["values"].get<std::vector<float>>();
      REQUIRE(y.size() == expected.size());
      float worst = 0;
      for (std::size_t i = 0; i < y.size(); ++i)
        worst =
            std::max(worst, std::abs(y[i] - expected[i]) / std::max(1.0F, std::abs(expected[i])));
      CHECK(worst < 1e-5F);
    });
    CHECK(why == "no error");
  }
  CHECK(all["cases"].size() >= 79);
  CHECK(covered.size() >= 24);
}

}  // namespace
}  // namespace lastmile

#endif
