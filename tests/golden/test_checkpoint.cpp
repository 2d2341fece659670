// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/golden/checkpoint.hpp"
#include "tests/golden/cases.hpp"

using namespace lastmile;

namespace {

// The bytes with their checksum made right again, so that what a test changed is what is found.
std::vector<std::uint8_t> sealed(std::vector<std::uint8_t> bytes) {
  bytes.erase(bytes.end() - 8, bytes.end());
  const std::uint64_t sum = xxh64(bytes);
  const auto* from = reinterpret_cast<const std::uint8_t*>(&sum);
  bytes.insert(bytes.end(), from, from + 8);
  return bytes;
}

std::string refusal(const std::vector<std::uint8_t>& bytes, const Network& net) {
  try {
    (void)decode_checkpoint(bytes, "w.ckpt", net);
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("golden: a checkpoint gives back every bit of every network") {
  const auto folder = std::filesystem::temp_directory_path() / "lastmile-test-checkpoint";
  std::filesystem::create_directories(folder);
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    auto params = random_params<float>(net, 4);
    const auto path = folder / (net.name + ".ckpt");
    save_checkpoint(path, net, params);
    CHECK(load_checkpoint(path, net) == params);
    CHECK(std::filesystem::exists(path));
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("golden: every cut and every flipped byte of a checkpoint is refused") {
  const Network net = norm_case();
  const auto bytes = encode_checkpoint(net, random_params<float>(net, 4));
  CHECK(refusal(bytes, net) == "");
  for (std::size_t size = 0; size < bytes.size(); size += 7) {
    const std::vector<std::uint8_t> cut(bytes.begin(),
                                        bytes.begin() + static_cast<std::ptrdiff_t>(size));
    CHECK(refusal(cut, net) != "");
    // With a right checksum the structure itself must be checked.
    if (size > 40) CHECK(refusal(sealed(cut), net) != "");
  }
  for (std::size_t at = 0; at < bytes.size(); at += 5) {
    auto flipped = bytes;
    flipped[at] ^= 0x10;
    CHECK(refusal(flipped, net) != "");
  }
}

TEST_CASE("golden: a checkpoint names what does not fit") {
  const Network net = norm_case();
  auto params = random_params<float>(net, 4);
  const auto bytes = encode_checkpoint(net, params);
  const auto has = [](const std::string& text, const char* part) {
    if (text.find(part) == std::string::npos) MESSAGE(text);
    return text.find(part) != std::string::npos;
  };
  Network other = net;
  other.name = "other";
  CHECK(has(refusal(bytes, other), "weights of network 'norm', expected 'other'"));
  other = net;
  other.layers[0].activation = Activation::relu6;
  CHECK(has(refusal(bytes, other), "fingerprint of network 'norm'"));
  auto version = bytes;
  version[8] = 9;
  CHECK(has(refusal(sealed(version), net), "version is 9, expected 1"));
  CHECK(has(refusal({1, 2, 3}, net), "without the mark LMFLOAT"));

  // The last value of the file is fc's last bias; these are the high bytes of a NaN.
  auto nan = bytes;
  nan[nan.size() - 8 - 2] = 0xc0;
  nan[nan.size() - 8 - 1] = 0x7f;
  CHECK(has(refusal(sealed(nan), net), "w.ckpt: layer 'fc': bias[2] is nan"));
  auto longer = bytes;
  longer.insert(longer.end() - 8, 4, 0);
  CHECK(has(refusal(sealed(longer), net), "4 bytes after the last tensor"));
  params.layers[0].gamma[0] = INFINITY;
  CHECK_THROWS_WITH_AS((void)encode_checkpoint(net, params),
                       doctest::Contains("layer 'conv': gamma[0] is inf"), Error);
}

TEST_CASE("golden: a checkpoint keeps what its data have to go through, and old ones lack it") {
  const Network net = operator_cases().front();
  const auto params = random_params<float>(net, 1);
  const auto old = encode_checkpoint(net, params);
  const auto with = encode_checkpoint(net, params, "{\"kind\":\"images\"}");
  CHECK(old[8] == 1);
  CHECK(with[8] == 2);
  CHECK(describe_checkpoint(old, "t").preprocessing.empty());
  CHECK(describe_checkpoint(with, "t").preprocessing == "{\"kind\":\"images\"}");
  CHECK(decode_checkpoint(with, "t", net).layers.front().weights ==
        decode_checkpoint(old, "t", net).layers.front().weights);
  // Version 2 says so for a reason.
  std::vector<std::uint8_t> bad = old;
  bad[8] = 2;
  CHECK(!refusal(sealed(bad), net).empty());
}
