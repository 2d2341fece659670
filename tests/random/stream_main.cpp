// SPDX-License-Identifier: Apache-2.0
// Writes the perturbation generator's stream, in an order chosen by name, as raw little-endian
// words to standard output:
//   build/random-stream seeds/sign/word | dieharder -a -g 200
// and serves any other battery that reads raw words (TestU01 and PractRand through their stdin
// generators).
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "tests/random/stream.hpp"

int main(int argc, char** argv) {
  using namespace lastmile::test;
  std::string order;
  std::uint64_t seed = 1;
  std::uint64_t skip = 0;
  std::uint64_t words = std::numeric_limits<std::uint64_t>::max();
  int rounds = lastmile::spec::kHashRounds;
  CLI::App app(
      "Raw 64-bit words of the perturbation generator, little-endian, until the reader closes the "
      "pipe");
  app.add_option("order", order,
                 "walk/domain/take: walk elements, network, rows, tensors, seeds, robin; domain "
                 "sign, gaussian, "
                 "mask, round; take word, bit-0 .. bit-63, reversed, high, low")
      ->required();
  app.add_option("--seed", seed, "first seed")->capture_default_str();
  app.add_option("--skip", skip, "words of the stream to pass over first")->capture_default_str();
  app.add_option("--words", words, "stop after this many words");
  app.add_option("--rounds", rounds, "rounds of the hash, to see its margin")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    Stream stream(Order::parse(order), seed, skip, rounds);
    std::vector<std::uint64_t> buffer(8192);
    while (words > 0) {
      if (words < buffer.size()) buffer.resize(static_cast<std::size_t>(words));
      stream.fill(buffer);
      if (std::fwrite(buffer.data(), sizeof(std::uint64_t), buffer.size(), stdout) != buffer.size())
        return 0;
      words -= buffer.size();
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "random-stream: %s\n", e.what());
    return 2;
  }
  return 0;
}
