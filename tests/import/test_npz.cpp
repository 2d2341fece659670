// SPDX-License-Identifier: Apache-2.0
// Arrays of numpy: what is written is read again, numpy reads it and is read, damage is named.
#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>

#include "sw/base/io.hpp"
#include "sw/golden/npz.hpp"
#include "tests/golden/cases.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

TEST_CASE("import: weights survive .npz, and numpy reads and writes the same") {
  const Network n = make_network("net", "[4, 5, 2]", R"([[layer]]
name = "c"
op = "conv2d"
filters = 3
kernel = [2, 3]
batch_norm = true
)");
  const auto params = random_params<float>(n, test_seed());
  testing::TempDir dir;
  save_weights(dir / "w.npz", n, params);
  CHECK(load_weights(dir / "w.npz", n) == params);
  const std::string script =
      "import numpy as np\n"
      "w = np.load('" +
      (dir / "w.npz").string() +
      "')\n"
      "assert w['c/weights'].shape == (3, 2, 3, 2) and w['fc/weights'].shape == (3, 27)\n"
      "assert sorted(w.files) == ['c/beta', 'c/gamma', 'c/mean', 'c/variance', 'c/weights', "
      "'fc/bias', 'fc/weights'], w.files\n"
      "a = {k: w[k] for k in w.files}\n"
      "np.savez_compressed('" +
      (dir / "packed.npz").string() +
      "', **a)\n"
      "a['fc/weights'] = np.asfortranarray(a['fc/weights'].astype(np.float64))\n"
      "np.savez('" +
      (dir / "other.npz").string() + "', **a)\n";
  write_file_atomic(dir / "script.py", script);
  if (std::system("python3 -c 'import numpy' 2> /dev/null") != 0) {
    std::cout << "SKIPPED: no python3-numpy to compare .npz with\n";
    return;
  }
  REQUIRE(std::system(("python3 " + (dir / "script.py").string()).c_str()) == 0);
  CHECK(load_weights(dir / "packed.npz", n) == params);
  CHECK(load_weights(dir / "other.npz", n) == params);
}

TEST_CASE("import: .npz names what is missing, wrong or damaged") {
  const Network n = make_network("net", "[1, 1, 2]", "");
  const NpyArray weights{{3, 2}, {1, 2, 3, 4, 5, 6}}, bias{{3}, {1, 2, 3}};
  using Arrays = std::vector<std::pair<std::string, NpyArray>>;
  const auto error = [&](const std::vector<std::uint8_t>& bytes) {
    return error_of([&] { static_cast<void>(decode_weights(bytes, "w.npz", n)); });
  };
  const auto of = [](const Arrays& a) { return encode_npz(a); };
  const auto good = of({{"fc/weights", weights}, {"fc/bias", bias}});
  CHECK(error(good) == "no error");
  CHECK(mentions(error(of({{"fc/weights", weights}})), {"w.npz", "no array \"fc/bias\" of 3"}));
  CHECK(mentions(error(of({{"fc/weights", bias}, {"fc/bias", bias}})),
                 {"\"fc/weights\" is 3, expected 3 x 2"}));
  CHECK(mentions(error(of({{"fc/weights", weights}, {"fc/bias", bias}, {"x", bias}})),
                 {"\"x\" is none of network net"}));
  auto bad = good;
  bad[180] ^= 1;
  CHECK(mentions(error(bad), {"w.npz: entry \"fc/weights.npy\"", "checksum"}));
  for (std::size_t cut = 0; cut < good.size(); ++cut)
    CHECK(error({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut)}) != "no error");
}

}  // namespace
}  // namespace lastmile
