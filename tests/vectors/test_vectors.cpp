#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "cmodel/device/model_device.hpp"
#include "sw/vectors/vectors.hpp"

using namespace lastmile;

namespace {

spec::HardwareParams small_hardware() {
  spec::HardwareParams hw;
  hw.rows = 4;
  hw.cols = 4;
  hw.act_bytes = 4096;
  hw.acc_depth = 64;
  return hw;
}

}  // namespace

TEST_CASE("vectors: the shared cases pass on the model, whatever the hardware's size") {
  const char* root = std::getenv("SHARED");
  const auto folder =
      std::filesystem::path(root != nullptr && *root != '\0' ? root : "../shared") / "vectors";
  if (!std::filesystem::is_directory(folder)) {
    MESSAGE("SKIPPED: no vectors at " << folder.string() << " (set SHARED)");
    std::cout << "SKIPPED: no vectors at " << folder.string() << " (set SHARED)\n";
    return;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    for (const auto& hw : {spec::HardwareParams{}, small_hardware()}) {
      const auto device =
          open_model({.hardware = hw, .memory_bytes = 1 << 22, .threads = 1, .extra = {}});
      const VectorResult r = run_vector_file(*device, entry.path());
      INFO(entry.path().string() << ": " << r.difference);
      CHECK(r.passed);
      CHECK(r.compared > 0);
    }
  }
  CHECK(files >= 10);
}
