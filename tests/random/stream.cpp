// SPDX-License-Identifier: Apache-2.0
#include "tests/random/stream.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "sw/base/error.hpp"

namespace lastmile::test {
namespace {

constexpr std::pair<std::string_view, Walk> kWalks[] = {
    {"elements", Walk::elements_}, {"network", Walk::network_}, {"rows", Walk::rows_},
    {"tensors", Walk::tensors_},   {"seeds", Walk::seeds_},     {"robin", Walk::robin_}};
constexpr std::pair<std::string_view, spec::Domain> kDomains[] = {
    {"sign", spec::Domain::sign_},
    {"gaussian", spec::Domain::gaussian_},
    {"mask", spec::Domain::mask_},
    {"round", spec::Domain::round_}};
constexpr std::pair<std::string_view, Take> kTakes[] = {{"word", Take::word_},
                                                        {"bit", Take::bit_},
                                                        {"reversed", Take::reversed_},
                                                        {"high", Take::high_},
                                                        {"low", Take::low_}};

template <class Table>
auto find(const Table& table, std::string_view what, std::string_view text) {
  for (const auto& [name, value] : table)
    if (name == text) return value;
  std::string names;
  for (const auto& [name, value] : table) names += (names.empty() ? "" : ", ") + std::string(name);
  throw Error(ErrorKind::usage, "stream order: " + std::string(what) + " '" + std::string(text) +
                                    "' is none of " + names);
}

template <class Table, class Value>
std::string name_of(const Table& table, Value v) {
  for (const auto& [name, value] : table)
    if (value == v) return std::string(name);
  return "?";
}

std::uint64_t counter(spec::Domain domain, std::uint64_t tensor, std::uint64_t row,
                      std::uint64_t block) {
  return (static_cast<std::uint64_t>(domain) << 48) | (tensor << 32) | (row << 16) | block;
}

constexpr std::uint64_t reverse_bits(std::uint64_t x) {
  for (int s = 1; s < 64; s *= 2) {
    const std::uint64_t mask = ~0ULL / ((1ULL << s) + 1);  // alternating groups of s bits
    x = ((x >> s) & mask) | ((x & mask) << s);
  }
  return x;
}

// Words of the walk that make one word of the stream.
constexpr std::uint64_t words_per_word(Take take) {
  return take == Take::bit_ ? 64 : take == Take::high_ || take == Take::low_ ? 2 : 1;
}

template <int Rounds>
void hash(std::span<const std::uint64_t> keys, std::span<const std::uint64_t> counters,
          std::span<std::uint64_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = numeric::threefry<Rounds>(keys[i], counters[i]);
}

template <std::size_t I = 0>
void hash(int rounds, std::span<const std::uint64_t> keys, std::span<const std::uint64_t> counters,
          std::span<std::uint64_t> out) {
  if constexpr (I < kStreamRounds.size()) {
    if (rounds == kStreamRounds[I])
      hash<kStreamRounds[I]>(keys, counters, out);
    else
      hash<I + 1>(rounds, keys, counters, out);
  } else {
    throw Error(ErrorKind::usage,
                "stream: no generator with " + std::to_string(rounds) + " rounds");
  }
}

}  // namespace

Order Order::parse(std::string_view name) {
  const std::size_t a = name.find('/');
  const std::size_t b = a == std::string_view::npos ? a : name.find('/', a + 1);
  if (b == std::string_view::npos)
    throw Error(ErrorKind::usage,
                "stream order '" + std::string(name) + "': expected walk/domain/take");
  Order o;
  o.walk = find(kWalks, "walk", name.substr(0, a));
  o.domain = find(kDomains, "domain", name.substr(a + 1, b - a - 1));
  std::string_view take = name.substr(b + 1);
  if (take.starts_with("bit-")) {
    const auto [end, error] = std::from_chars(take.data() + 4, take.data() + take.size(), o.bit);
    if (error != std::errc{} || end != take.data() + take.size() || o.bit < 0 || o.bit > 63)
      throw Error(ErrorKind::usage,
                  "stream order '" + std::string(name) + "': expected bit-0 .. bit-63");
    take = "bit";
  }
  o.take = find(kTakes, "take", take);
  return o;
}

std::string Order::name() const {
  return name_of(kWalks, walk) + "/" + name_of(kDomains, domain) + "/" + name_of(kTakes, take) +
         (take == Take::bit_ ? "-" + std::to_string(bit) : "");
}

Stream::Stream(const Order& order, std::uint64_t seed, std::uint64_t skip, int rounds)
    : order_(order), seed_(seed), index_(skip * words_per_word(order.take)), rounds_(rounds) {
  if (order.walk != Walk::network_) return;
  // Rows and columns of the weight matrices of a small CNN, each followed by its bias.
  constexpr std::pair<std::uint64_t, std::uint64_t> layers[] = {
      {16, 9}, {32, 144}, {32, 288}, {10, 288}};
  const std::uint64_t per = numeric::elements_per_word(order.domain);
  std::uint64_t tensor = 0;
  for (const auto& [rows, columns] : layers) {
    for (std::uint64_t r = 0; r < rows; ++r)
      for (std::uint64_t c = 0; c < columns; c += per)
        network_.push_back(counter(order.domain, tensor, r, c / per));
    ++tensor;
    for (std::uint64_t c = 0; c < rows; c += per)
      network_.push_back(counter(order.domain, tensor, 0, c / per));
    ++tensor;
  }
}

void Stream::walk(std::span<std::uint64_t> out) {
  constexpr std::size_t kLanes = 1024;
  std::array<std::uint64_t, kLanes> keys{};
  std::array<std::uint64_t, kLanes> counters{};
  const spec::Domain d = order_.domain;
  // A row of 65,536 elements has 2^bits words.
  const int bits = 16 - std::countr_zero(numeric::elements_per_word(d));
  const std::uint64_t blocks = (1ULL << bits) - 1;
  const std::uint64_t seed = seed_;
  while (!out.empty()) {
    const std::size_t n = std::min(kLanes, out.size());
    const std::uint64_t first = index_;
    // One loop per walk, so that each of them vectorizes.
    const auto each = [&](auto&& coordinates) {
      for (std::size_t k = 0; k < n; ++k) coordinates(first + k, keys[k], counters[k]);
    };
    switch (order_.walk) {
      case Walk::elements_:
        each([=](std::uint64_t i, std::uint64_t& key, std::uint64_t& c) {
          key = seed + (i >> bits >> 32);
          c = counter(d, (i >> bits >> 16) & 0xffff, (i >> bits) & 0xffff, i & blocks);
        });
        break;
      case Walk::network_: {
        std::uint64_t key = seed + first / network_.size();
        std::size_t at = first % network_.size();
        for (std::size_t k = 0; k < n; ++k) {
          keys[k] = key;
          counters[k] = network_[at];
          if (++at == network_.size()) {
            at = 0;
            ++key;
          }
        }
        break;
      }
      case Walk::rows_:
        each([=](std::uint64_t i, std::uint64_t& key, std::uint64_t& c) {
          key = seed + (i >> bits >> 32);
          c = counter(d, (i >> bits >> 16) & 0xffff, i & 0xffff, (i >> 16) & blocks);
        });
        break;
      case Walk::tensors_:
        each([=](std::uint64_t i, std::uint64_t& key, std::uint64_t& c) {
          key = seed + (i >> bits >> 32);
          c = counter(d, i & 0xffff, (i >> bits >> 16) & 0xffff, (i >> 16) & blocks);
        });
        break;
      case Walk::seeds_:
        each([=](std::uint64_t i, std::uint64_t& key, std::uint64_t& c) {
          key = seed + i;
          c = counter(d, 2, 5, 1);
        });
        break;
      case Walk::robin_:
        each([=](std::uint64_t i, std::uint64_t& key, std::uint64_t& c) {
          key = seed + (i & 3) + ((i >> 6 >> bits >> 14) << 2);
          c = counter(d, (i >> 2) & 3, ((i >> 4) & 3) | (((i >> 6 >> bits) & 0x3fff) << 2),
                      (i >> 6) & blocks);
        });
        break;
    }
    hash(rounds_, {keys.data(), n}, {counters.data(), n}, out.first(n));
    index_ += n;
    out = out.subspan(n);
  }
}

void Stream::fill(std::span<std::uint64_t> out) {
  std::array<std::uint64_t, 4096> words{};
  switch (order_.take) {
    case Take::word_:
      walk(out);
      return;
    case Take::reversed_:
      walk(out);
      for (std::uint64_t& w : out) w = reverse_bits(w);
      return;
    case Take::bit_:
      while (!out.empty()) {
        const std::size_t n = std::min(words.size() / 64, out.size());
        walk(std::span(words).first(n * 64));
        for (std::size_t i = 0; i < n; ++i) {
          std::uint64_t w = 0;
          const int bit = order_.bit;
          for (std::size_t k = 0; k < 64; ++k) w |= ((words[i * 64 + k] >> bit) & 1) << k;
          out[i] = w;
        }
        out = out.subspan(n);
      }
      return;
    case Take::high_:
    case Take::low_:
      while (!out.empty()) {
        const std::size_t n = std::min(words.size() / 2, out.size());
        walk(std::span(words).first(n * 2));
        for (std::size_t i = 0; i < n; ++i) {
          const std::uint64_t a = words[2 * i];
          const std::uint64_t b = words[2 * i + 1];
          out[i] = order_.take == Take::high_ ? (a >> 32) | (b >> 32 << 32)
                                              : (a & 0xffffffffU) | (b << 32);
        }
        out = out.subspan(n);
      }
      return;
  }
}

std::uint64_t Stream::next() {
  if (used_ == buffer_.size()) {
    buffer_.resize(1024);
    fill(buffer_);
    used_ = 0;
  }
  return buffer_[used_++];
}

}  // namespace lastmile::test
