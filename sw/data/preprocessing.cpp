// SPDX-License-Identifier: Apache-2.0
#include "sw/data/preprocessing.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "sw/base/error.hpp"
#include "sw/base/json_text.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

const char* kind_of(const Preprocessing& p) { return p.audio ? "audio" : "images"; }
const char* name_of(FeatureKind kind) { return kind == FeatureKind::mfcc ? "mfcc" : "logmel"; }

// Calls use(name, field) for every number of the features.
template <class Features, class Use>
void each_setting(Features& f, const Use& use) {
  use("rate", f.rate);
  use("frame", f.frame);
  use("hop", f.hop);
  use("bands", f.bands);
  use("coefficients", f.coefficients);
  use("low_hz", f.low_hz);
  use("high_hz", f.high_hz);
  use("floor", f.floor);
}

}  // namespace

Preprocessing::Seen seen_of(std::span<const float> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const float v : values) sum += static_cast<double>(v);
  for (const float v : values) squares += std::pow(static_cast<double>(v) - sum / n, 2);
  return {sum / n, std::sqrt(squares / n)};
}

std::string to_text(const Preprocessing& p) {
  json j = {{"kind", kind_of(p)},
            {"input", {p.input.h, p.input.w, p.input.c}},
            {"classes", p.class_names},
            {"seen", {p.seen.mean, p.seen.deviation}}};
  if (p.audio) {
    json features = {{"kind", name_of(p.features.kind)}};
    each_setting(p.features, [&](const char* name, const auto& v) { features[name] = v; });
    j["features"] = features;
    j["mean"] = p.normalization.mean;
    j["deviation"] = p.normalization.deviation;
  } else {
    j["scale"] = "b/255";
    if (!p.normalization.mean.empty()) {
      j["mean"] = p.normalization.mean;
      j["deviation"] = p.normalization.deviation;
    }
    if (!p.resize.empty()) j["resize"] = p.resize;
  }
  return json_text(j);  // names may be no UTF-8
}

Preprocessing parse_preprocessing(const std::string& text, const std::string& origin) {
  Preprocessing p;
  try {
    const json j = json::parse(text);
    p.audio = j.at("kind").get<std::string>() == "audio";
    p.input = {j.at("input").at(0).get<int>(), j.at("input").at(1).get<int>(),
               j.at("input").at(2).get<int>()};
    p.class_names = j.at("classes").get<std::vector<std::string>>();
    p.seen = {j.at("seen").at(0).get<double>(), j.at("seen").at(1).get<double>()};
    if (p.audio) {
      const json& f = j.at("features");
      p.features.kind = f.at("kind").get<std::string>() == name_of(FeatureKind::mfcc)
                            ? FeatureKind::mfcc
                            : FeatureKind::log_mel;
      each_setting(p.features, [&](const char* name, auto& v) { f.at(name).get_to(v); });
    }
    // Older files of images have neither normalization nor a way to resize.
    if (p.audio || j.contains("mean")) {
      j.at("mean").get_to(p.normalization.mean);
      j.at("deviation").get_to(p.normalization.deviation);
    }
    if (!p.audio && j.contains("resize")) j.at("resize").get_to(p.resize);
  } catch (const json::exception& e) {
    throw Error(ErrorKind::input, fmt::format("{}: preprocessing: {}", origin, e.what()));
  }
  const auto columns = static_cast<std::size_t>(p.audio ? p.input.w : p.input.c);
  const bool normalized = p.audio || !p.normalization.mean.empty();
  if (to_text(p) != text || (normalized && (p.normalization.mean.size() != columns ||
                                            p.normalization.deviation.size() != columns)))
    throw Error(ErrorKind::input,
                fmt::format("{}: preprocessing: found {}, expected what this version writes",
                            origin, text.substr(0, 80)));
  return p;
}

void require_same(const Preprocessing& stored, const Preprocessing& data,
                  const std::string& origin) {
  const auto differ = [&](const std::string& what, const auto& found, const auto& expected) {
    throw Error(ErrorKind::input, fmt::format("{}: it was made for {} {}, but the data have {}",
                                              origin, what, expected, found));
  };
  if (stored.audio != data.audio) differ("data of kind", kind_of(data), kind_of(stored));
  if (stored.audio) {
    if (stored.features.kind != data.features.kind)
      differ("features", name_of(data.features.kind), name_of(stored.features.kind));
    std::vector<double> settings;
    each_setting(data.features, [&](const char*, auto v) { settings.push_back(v); });
    std::size_t i = 0;
    each_setting(stored.features, [&](const char* name, auto v) {
      if (settings[i] != static_cast<double>(v))
        differ(fmt::format("feature setting {}", name), settings[i], v);
      ++i;
    });
  }
  if (!stored.audio) {
    const auto list = [](const std::vector<float>& v) {
      return v.empty() ? std::string("none") : fmt::format("{}", fmt::join(v, ","));
    };
    const Normalization &a = stored.normalization, &b = data.normalization;
    if (a.mean != b.mean) differ("a --mean of", list(b.mean), list(a.mean));
    if (a.deviation != b.deviation) differ("a --std of", list(b.deviation), list(a.deviation));
    if (!stored.resize.empty() && !data.resize.empty() && stored.resize != data.resize)
      differ("pictures resized by --resize", data.resize, stored.resize);
  }
  const auto size = [](const Shape& s) { return fmt::format("{} x {} x {}", s.h, s.w, s.c); };
  if (stored.input != data.input) differ("an input of", size(data.input), size(stored.input));
  if (stored.class_names.size() != data.class_names.size())
    differ("a number of classes of", data.class_names.size(), stored.class_names.size());
  // As a file has them: what is no UTF-8 is replaced on the way.
  const auto names = json::parse(json_text(json(data.class_names))).get<std::vector<std::string>>();
  for (std::size_t k = 0; k < stored.class_names.size(); ++k)
    if (stored.class_names[k] != names[k])
      differ(fmt::format("class {}", k), "'" + names[k] + "' there",
             "'" + stored.class_names[k] + "'");
}

}  // namespace lastmile
