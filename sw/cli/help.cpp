// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/help.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace lastmile {
namespace {

constexpr std::size_t kNames = 26;  // columns of an option's or a command's name

// "INT:INT in [0 - 9]" as CLI11 has it: kind of the value, and what is allowed.
struct ValueKind {
  std::string name, range;
};
ValueKind kind_of_value(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t colon = type.find(':');
  ValueKind k{type.substr(0, colon), {}};
  if (k.name == "INT" || k.name == "UINT") k.name = "N";
  if (k.name == "FLOAT") k.name = "X";
  if (colon == std::string::npos) return k;
  const std::string rest = type.substr(colon + 1);
  const std::size_t open = rest.find_first_of("[{");
  if (open == std::string::npos) return k;
  k.range = rest.substr(open + 1, rest.find_last_of("]}") - open - 1);
  if (rest[open] == '[') {
    if (const std::size_t dash = k.range.find(" - "); dash != std::string::npos)
      k.range.replace(dash, 3, " to ");
  } else {
    std::string spaced;
    for (const char c : k.range) spaced += c == ',' ? std::string(", ") : std::string(1, c);
    k.range = "one of " + spaced;
  }
  return k;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t corner = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t kept = corner + (a[i] == b[j] ? 0 : 1);
      corner = row[j + 1];
      row[j + 1] = std::min({kept, row[j] + 1, corner + 1});
    }
  }
  return row.back();
}

}  // namespace

std::string wrapped(std::string_view text, std::size_t indent, std::string_view first,
                    std::size_t columns) {
  std::string out(first), line(first);
  if (line.size() + 1 > indent && indent != 0 && !first.empty()) {
    out += '\n';
    line.clear();
  }
  const auto pad = [&] {
    if (line.size() >= indent) return;
    out.append(indent - line.size(), ' ');
    line.resize(indent, ' ');
  };
  pad();
  bool begun = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (!word.empty()) {
      if (begun && line.size() + 1 + word.size() > columns) {
        out += '\n';
        line.clear();
        pad();
        begun = false;
      }
      if (begun) out += ' ', line += ' ';
      out += word, line += word;
      begun = true;
    }
    if (end < text.size() && text[end] == '\n') {
      out += '\n';
      line.clear();
      pad();
      begun = false;
    }
    at = end + 1;
  }
  return out + '\n';
}

std::string option_names(const CLI::Option& option) {
  std::string names = option.get_name(option.get_positional(), true);
  if (const std::string kind = kind_of_value(option).name; option.get_type_size() != 0) {
    if (!kind.empty()) names += ' ' + kind;
    if (option.get_expected_max() >= CLI::detail::expected_max_vector_size) names += "...";
  }
  return names;
}

std::string option_text(const CLI::Option& option) {
  std::vector<std::string> facts;
  if (option.get_required()) facts.emplace_back("required");
  if (option.get_type_size() != 0) {
    if (!option.get_default_str().empty()) facts.push_back("default: " + option.get_default_str());
    if (const std::string range = kind_of_value(option).range; !range.empty())
      facts.push_back(range);
  }
  const std::string& text = option.get_description();
  return facts.empty() ? text : fmt::format("{} [{}]", text, fmt::join(facts, "; "));
}

std::string HelpFormatter::make_usage(const CLI::App* app, std::string name) const {
  if (name.empty()) {  // of a command
    for (const CLI::App* a = app; a != nullptr; a = a->get_parent())
      name = a->get_name() + (name.empty() ? "" : " " + name);
  }
  std::string line = "Usage: " + name;
  for (const CLI::Option* o : app->get_options(
           [](const CLI::Option* x) { return x->get_positional() && x->nonpositional() == false; }))
    line += o->get_required() ? " " + o->get_name(true) : " [" + o->get_name(true) + "]";
  if (!app->get_options([](const CLI::Option* x) { return x->nonpositional(); }).empty())
    line += " [OPTIONS]";
  if (!app->get_subcommands({}).empty()) line += " COMMAND ...";
  return wrapped(line, 0) + "\n";
}

std::string HelpFormatter::make_description(const CLI::App* app) const {
  return wrapped(app->get_description(), 0) + "\n";
}

std::string HelpFormatter::make_footer(const CLI::App* app) const {
  const std::string footer = app->get_footer();
  return footer.empty() ? "" : wrapped(footer, 0);
}

std::string HelpFormatter::make_group(std::string group, bool positional,
                                      std::vector<const CLI::Option*> options) const {
  std::string out = CLI::Formatter::make_group(std::move(group), positional, std::move(options));
  if (out.starts_with('\n')) out.erase(0, 1);  // one empty line between groups is enough
  return positional ? out + "\n" : out;
}

std::string HelpFormatter::make_option(const CLI::Option* option, bool positional) const {
  const std::string names = positional ? option->get_name(true) : option_names(*option);
  return wrapped(option_text(*option), kNames + 2, "  " + names);
}

std::string HelpFormatter::make_subcommand(const CLI::App* app) const {
  return wrapped(app->get_description(), kNames - 10, "  " + app->get_name());
}

OptionGroup::OptionGroup(CLI::App& app, const char* heading)
    : app_(app), before_(app.option_defaults()->get_group()) {
  app_.option_defaults()->group(heading);
}
OptionGroup::~OptionGroup() { app_.option_defaults()->group(before_); }

std::vector<std::string> meant(std::string_view word, const std::vector<std::string>& names) {
  constexpr std::size_t kSlips = 2;
  std::vector<std::string> out;
  for (const std::string& name : names)
    if (word.size() > 1 && name.starts_with(word)) out.push_back(name);
  if (!out.empty()) return out;
  std::size_t best = kSlips;
  for (const std::string& name : names)
    if (word.size() > kSlips) best = std::min(best, distance(word, name));
  for (const std::string& name : names)
    if (word.size() > kSlips && distance(word, name) == best) out.push_back(name);
  return out;
}

std::string unknown_command(const CLI::App& app, std::string_view first) {
  if (first.empty() || first.front() == '-') return {};
  std::vector<std::string> names;
  for (const CLI::App* c : app.get_subcommands({})) names.push_back(c->get_name());
  if (std::find(names.begin(), names.end(), first) != names.end()) return {};
  const std::vector<std::string> near = meant(first, names);
  std::string text = fmt::format("no command '{}'", first);
  text += near.empty() ? fmt::format(", expected one of {}", fmt::join(names, ", "))
                       : fmt::format("; did you mean '{}'?", fmt::join(near, "' or '"));
  return text + " (lastmile --help lists what each does)";
}

}  // namespace lastmile
