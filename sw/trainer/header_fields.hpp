// SPDX-License-Identifier: Apache-2.0
// The text at the beginning of a journal: its fields, each checked when it is read.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/sha256.hpp"

namespace lastmile {

// Value of "seed_rule"; a header without it is of before there was a choice (SeedRule::counting).
inline constexpr const char* kHashedSeeds = "hashed";

[[noreturn]] inline void fail_journal(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::journal, fmt::format("{}: {}", name, what));
}

// The fields of one JSON object; errors carry the whole path of a field.
class HeaderFields {
 public:
  HeaderFields(const nlohmann::json& object, std::string path, const std::string& name,
               std::initializer_list<const char*> known)
      : object_(object), path_(std::move(path)), name_(name) {
    if (!object.is_object())
      fail_journal(name, fmt::format("header: {} is {}, expected an object",
                                     path_.empty() ? "the whole" : path_, object.dump()));
    for (const auto& item : object.items()) {
      bool found = false;
      for (const char* k : known) found = found || item.key() == k;
      if (!found)
        fail_journal(name, fmt::format("header: {} is {}, a field this program does not know",
                                       this->path(item.key().c_str()), item.value().dump()));
    }
  }

  [[nodiscard]] const nlohmann::json& at(const char* field) const {
    const auto found = object_.find(field);
    if (found == object_.end())
      fail_journal(name_, fmt::format("header: {} is missing", path(field)));
    return *found;
  }
  template <std::unsigned_integral T>
  [[nodiscard]] T integer(const char* field, T least = 0,
                          T most = std::numeric_limits<T>::max()) const {
    const nlohmann::json& value = at(field);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() < least ||
        value.get<std::uint64_t>() > most)
      wrong(field, fmt::format("{}..{}", least, most));
    return value.get<T>();
  }
  [[nodiscard]] int small(const char* field, int least, int most) const {
    return static_cast<int>(
        integer(field, static_cast<unsigned>(least), static_cast<unsigned>(most)));
  }
  [[nodiscard]] double number(const char* field, double most) const {
    const nlohmann::json& value = at(field);
    if (!value.is_number() || !(value.get<double>() >= 0 && value.get<double>() <= most))
      wrong(field, most == 1 ? "0..1" : "a finite number of at least 0");
    return value.get<double>();
  }
  // One of `values`, by the name that `name_of` gives it.
  template <class T, class NameOf>
  [[nodiscard]] T choice(const char* field, std::initializer_list<T> values,
                         const NameOf& name_of) const {
    const nlohmann::json& value = at(field);
    std::string names;
    for (const T v : values) {
      if (value == nlohmann::json(name_of(v))) return v;
      names += fmt::format("{}{}", names.empty() ? "" : " or ", name_of(v));
    }
    wrong(field, names);
  }
  [[nodiscard]] std::string text(const char* field) const {
    if (!at(field).is_string()) wrong(field, "a text");
    return at(field).get<std::string>();
  }
  [[nodiscard]] std::string sha256(const char* field) const {
    const nlohmann::json& value = at(field);
    if (!value.is_string() || value.get<std::string>().size() != 2 * sizeof(Sha256Digest))
      wrong(field, "64 hexadecimal digits");
    return value.get<std::string>();
  }
  [[nodiscard]] bool has(const char* field) const { return object_.contains(field); }
  [[nodiscard]] std::string path(const char* field) const {
    return path_.empty() ? field : fmt::format("{}.{}", path_, field);
  }
  [[noreturn]] void wrong(const char* field, const std::string& expected) const {
    fail_journal(name_, fmt::format("header: {} is {}, expected {}", path(field), at(field).dump(),
                                    expected));
  }

 private:
  const nlohmann::json& object_;
  std::string path_;
  const std::string& name_;
};

}  // namespace lastmile
