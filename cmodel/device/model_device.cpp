#include "cmodel/device/model_device.hpp"

#include <cstring>
#include <stdexcept>
#include <vector>

#include "cmodel/npu/npu.hpp"

namespace lastmile {
namespace {

std::vector<std::byte> make_memory(const DeviceOptions& options) {
  if (options.memory_bytes == 0 || options.memory_bytes > (std::uint64_t{1} << 32)) {
    throw std::invalid_argument("model: memory_bytes is " + std::to_string(options.memory_bytes) +
                                ", expected 1..2^32");
  }
  if (!options.extra.empty())
    throw std::invalid_argument("model: unknown option '" + options.extra + "', it has none");
  return std::vector<std::byte>(options.memory_bytes);
}

class ModelDevice final : public Device {
 public:
  explicit ModelDevice(const DeviceOptions& options)
      : memory_(make_memory(options)), npu_(options.hardware, memory_, options.threads) {}

  std::uint32_t read_register(std::uint32_t offset) override { return npu_.read_register(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    npu_.write_register(offset, value);
  }

  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    check(address, to.size());
    if (!to.empty()) std::memcpy(to.data(), memory_.data() + address, to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    check(address, from.size());
    if (!from.empty()) std::memcpy(memory_.data() + address, from.data(), from.size());
  }
  std::uint64_t memory_size() const override { return memory_.size(); }
  bool wait_interrupt() override { return npu_.interrupt(); }

 private:
  void check(std::uint32_t address, std::size_t bytes) const {
    if (bytes > memory_.size() || address > memory_.size() - bytes) {
      throw std::out_of_range("model memory: " + std::to_string(bytes) + " bytes at " +
                              std::to_string(address) + ", size " + std::to_string(memory_.size()));
    }
  }

  std::vector<std::byte> memory_;
  npu::Npu npu_;
};

}  // namespace

std::unique_ptr<Device> open_model(const DeviceOptions& options) {
  return std::make_unique<ModelDevice>(options);
}

}  // namespace lastmile
