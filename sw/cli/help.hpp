// SPDX-License-Identifier: Apache-2.0
// What people read about the commands: help of at most 80 columns, and what somebody may have
// meant.
#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lastmile {

inline constexpr std::size_t kHelpColumns = 80;

// Words of `text` in lines of at most `columns` that begin with `indent` spaces, the first one with
// `first` (which may be as long as the indent or longer: then the text begins on the next line).
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent,
                                  std::string_view first = {}, std::size_t columns = kHelpColumns);

// What an option takes and how it is preset, in words: "steps of the run [default: 600; 1 to 10]".
[[nodiscard]] std::string option_text(const CLI::Option& option);
// "-o,--option N": its names and the kind of its value.
[[nodiscard]] std::string option_names(const CLI::Option& option);

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override;
  std::string make_description(const CLI::App* app) const override;
  std::string make_footer(const CLI::App* app) const override;
  std::string make_group(std::string group, bool positional,
                         std::vector<const CLI::Option*> options) const override;
  std::string make_option(const CLI::Option* option, bool positional) const override;
  std::string make_subcommand(const CLI::App* app) const override;
};

// Options that are added while it lives are shown below this heading.
class OptionGroup {
 public:
  OptionGroup(CLI::App& app, const char* heading);
  ~OptionGroup();
  OptionGroup(const OptionGroup&) = delete;
  OptionGroup& operator=(const OptionGroup&) = delete;

 private:
  CLI::App& app_;
  std::string before_;
};

// The names that `word` is most likely a slip of: those that begin with it, else those one or two
// letters away. None if nothing is near.
[[nodiscard]] std::vector<std::string> meant(std::string_view word,
                                             const std::vector<std::string>& names);

// "no command 'x'; did you mean 'y'?" if the first argument is no command's name, else empty.
[[nodiscard]] std::string unknown_command(const CLI::App& app, std::string_view first);

}  // namespace lastmile
