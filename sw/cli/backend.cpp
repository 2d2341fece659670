// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/backend.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include "cmodel/spec/settings.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/shared_object.hpp"
#include "sw/device/device.hpp"

namespace lastmile {
namespace {

// The backend's options without the waveform, of which there is only one: the real run's.
std::string probe_options(const CommonOptions& common) {
  if (common.backend == "cmodel") return common.backend_options;
  std::string out;
  for (const spec::Setting& s : spec::split_settings(common.backend_options)) {
    const bool trace = s.name == "trace";
    if (trace) require_writable(s.value);
    if (s.name.rfind("trace", 0) == 0 && !trace) continue;
    out += (out.empty() ? "" : ",") + (trace ? "checked=1" : s.text);
  }
  return out;
}

// A device whose backend writes a waveform.
class TracedDevice final : public Device {
 public:
  TracedDevice(std::unique_ptr<Device> device, std::shared_ptr<Waveform> waveform)
      : device_(std::move(device)), waveform_(std::move(waveform)) {}
  TracedDevice(const TracedDevice&) = delete;
  TracedDevice& operator=(const TracedDevice&) = delete;
  // What ends in an error or by a signal keeps what there is of its waveform.
  ~TracedDevice() override {
    try {
      const auto measured = nlohmann::json::parse(device_->report(), nullptr, false);
      device_.reset();  // closes the file
      if (std::uncaught_exceptions() > unwinding_ || !measured.is_object()) return;
      *waveform_ = {};
      const auto trace = measured.find("trace");
      if (trace == measured.end() || trace->at("complete").get<bool>()) return;
      waveform_->file = trace->at("file").get<std::string>();
      waveform_->wrong = fmt::format(
          "{}: no waveform: trace_from and trace_cycles reach beyond the {} "
          "cycles of a step",
          waveform_->file, trace->at("cycles").get<std::uint64_t>());
    } catch (const std::exception& e) {
      waveform_->wrong = e.what();
    }
  }
  std::uint32_t read_register(std::uint32_t offset) override {
    return device_->read_register(offset);
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    device_->write_register(offset, value);
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    device_->read_memory(address, to);
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    device_->write_memory(address, from);
  }
  [[nodiscard]] std::uint64_t memory_size() const override { return device_->memory_size(); }
  [[nodiscard]] bool wait_interrupt() override { return device_->wait_interrupt(); }
  void annotate(const std::string& what) override { device_->annotate(what); }
  [[nodiscard]] std::string report() const override { return device_->report(); }

 private:
  std::unique_ptr<Device> device_;
  std::shared_ptr<Waveform> waveform_;
  int unwinding_ = std::uncaught_exceptions();
};

constexpr std::string_view kBackendPrefix = "liblastmile_", kBackendSuffix = ".so";

std::array<std::filesystem::path, 2> backend_folders() {
  const auto program = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return {program, program.parent_path() / "lib" / "lastmile"};
}

// Where there is none: where a build would put it.
std::filesystem::path backend_file(const std::string& name) {
  const auto file = fmt::format("{}{}{}", kBackendPrefix, name, kBackendSuffix);
  const auto folders = backend_folders();
  std::error_code none;
  for (const std::filesystem::path& folder : folders)
    if (std::filesystem::exists(folder / file, none)) return folder / file;
  return folders[0] / file;
}

}  // namespace

std::filesystem::path waveform_of(const CommonOptions& common) {
  if (common.backend == "cmodel") return {};
  for (const spec::Setting& s : spec::split_settings(common.backend_options))
    if (s.name == "trace") return s.value;
  return {};
}

std::vector<std::string> backend_names() {
  std::set<std::string> found;
  for (const std::filesystem::path& folder : backend_folders()) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(folder, none)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(kBackendPrefix) && name.ends_with(kBackendSuffix))
        found.insert(name.substr(kBackendPrefix.size(),
                                 name.size() - kBackendPrefix.size() - kBackendSuffix.size()));
    }
  }
  std::vector<std::string> out{"cmodel"};
  out.insert(out.end(), found.begin(), found.end());
  return out;
}

DeviceOpener find_backend(const CommonOptions& common, const Backends& backends) {
  DeviceOpener open = backends.model;
  if (common.backend != "cmodel") {
    const std::filesystem::path path = backend_file(common.backend);
    void* handle = load_shared_object(
        path, fmt::format("backend is \"{}\", expected cmodel, or a backend that was built (rtl: "
                          "`make rtl`)",
                          common.backend));
    void* symbol = ::dlsym(handle, kOpenDeviceSymbol);
    if (symbol == nullptr)
      throw Error(ErrorKind::device, fmt::format("backend \"{}\": {} has no {}", common.backend,
                                                 path.string(), kOpenDeviceSymbol));
    const auto entry = reinterpret_cast<OpenDevice>(symbol);
    open = [entry](const DeviceOptions& options) {
      return std::unique_ptr<Device>(entry(options));
    };
  }
  const auto with = [&](const std::string& extra) -> DeviceOpener {
    return [open, name = common.backend, extra](const DeviceOptions& options) {
      DeviceOptions all = options;
      all.extra = extra;
      try {
        return open(all);
      } catch (const std::invalid_argument& e) {
        throw Error(ErrorKind::usage, fmt::format("backend \"{}\": {}", name, e.what()));
      }
    };
  };
  // One that was built for other parameters is known now, not after the work before its first use.
  DeviceOptions probe;
  probe.hardware = parse_hardware(common.hardware);
  probe.memory_bytes = std::uint64_t{1} << 16;
  static_cast<void>(with(probe_options(common))(probe));
  if (waveform_of(common).empty()) return with(common.backend_options);
  return [open = with(common.backend_options),
          waveform = backends.waveform](const DeviceOptions& options) -> std::unique_ptr<Device> {
    return std::make_unique<TracedDevice>(open(options), waveform);
  };
}

}  // namespace lastmile
