// SPDX-License-Identifier: Apache-2.0
// IDX files (the format of MNIST): bytes 0 0 08 d, then d big-endian 32-bit dimensions, then
// unsigned bytes, last dimension fastest; plain or gzip, whatever the file name says. Every header
// field is checked: errors are lastmile::Error (input) and name the file, the field, the value
// found and what was expected.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/data/dataset.hpp"

namespace lastmile {

// Limits on what a header may claim.
inline constexpr std::uint32_t kIdxMaxExamples = 10'000'000;
inline constexpr std::uint32_t kIdxMaxSide = 4096;
inline constexpr std::uint32_t kIdxMaxChannels = 16;

// The parsers: `bytes` is the decompressed file, `name` is what errors call it. They touch no
// files. Images: d = 3 (n, rows, columns; one channel) or d = 4 (n, rows, columns, channels).
// Labels are left empty.
[[nodiscard]] ImageSet parse_idx_images(std::span<const std::uint8_t> bytes,
                                        const std::string& name);
// Labels: d = 1.
[[nodiscard]] std::vector<Label> parse_idx_labels(std::span<const std::uint8_t> bytes,
                                                  const std::string& name);

// Joins both. `classes` 0: one more than the largest label, and each class must then occur (a gap
// is a sign of labels that belong to something else); otherwise every label must be below it. Error
// if the counts differ.
[[nodiscard]] ImageSet join_idx(ImageSet images, const std::string& images_name,
                                std::vector<Label> labels, const std::string& labels_name,
                                int classes = 0);

[[nodiscard]] ImageSet read_idx(const std::filesystem::path& images,
                                const std::filesystem::path& labels, int classes = 0);

// The four files of an image set in a folder, under their usual names: {train | t10k or
// test}-{images | labels}, then
// "-idx3-ubyte" or ".idx3-ubyte" (idx1 for labels, idx4 for colour images), with ".gz" or without;
// a plain file wins over its .gz twin.
struct IdxFolder {
  std::filesystem::path train_images, train_labels, test_images, test_labels;
};
// Nothing if the folder has none of the four; Error if some but not all are there.
[[nodiscard]] std::optional<IdxFolder> find_idx_folder(const std::filesystem::path& folder);

struct IdxTask {
  ImageSet train, test;
};
// Both parts; their image sizes must be equal and test labels must be classes of the training part.
// `classes` as in join_idx.
[[nodiscard]] IdxTask read_idx_folder(const IdxFolder& files, int classes = 0);

// Writers (atomic; gzip if the name ends in .gz; one channel: idx3, more: idx4).
void write_idx_images(const std::filesystem::path& path, const ImageSet& images);
void write_idx_labels(const std::filesystem::path& path, std::span<const Label> labels);

}  // namespace lastmile
