// SPDX-License-Identifier: Apache-2.0
// `lastmile completion` and `lastmile man`: what shells and manuals know of the commands, from the
// parser itself.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/help.hpp"
#include "sw/cli/print.hpp"
#include "sw/cli/version.hpp"

namespace lastmile {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& root) {
  const auto all = root.get_subcommands({});
  return {all.begin(), all.end()};
}

// Long names of a command's options.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::Option* o : app.get_options({}))
    for (const std::string& name : o->get_lnames()) out.push_back("--" + name);
  return out;
}

// In single quotes, for any shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string names_of(const CLI::App& root) {
  std::string out;
  for (const CLI::App* c : commands_of(root)) out += (out.empty() ? "" : " ") + c->get_name();
  return out;
}

std::string bash_completion(const CLI::App& root) {
  std::string cases;
  for (const CLI::App* c : commands_of(root))
    cases += fmt::format("    {}) words='{}' ;;\n", c->get_name(), fmt::join(flags_of(*c), " "));
  return fmt::format(
      "# bash completion for lastmile\n"
      "_lastmile() {{\n"
      "  local word=${{COMP_WORDS[COMP_CWORD]}} words=''\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n"
      "    COMPREPLY=($(compgen -W '{} {}' -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n"
      "{}"
      "  esac\n"
      "  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); fi\n"
      "}}\n"
      "complete -o default -F _lastmile lastmile\n",
      names_of(root), fmt::join(flags_of(root), " "), cases);
}

std::string zsh_completion(const CLI::App& root) {
  const auto told = [](const std::string& name, std::string text) {
    std::replace(text.begin(), text.end(), ':', ',');
    return quoted(name + ":" + text);
  };
  std::string commands, cases;
  for (const CLI::App* c : commands_of(root)) {
    commands += "    " + told(c->get_name(), c->get_description()) + "\n";
    cases += fmt::format("      {})\n        flags=(\n", c->get_name());
    for (const CLI::Option* o : c->get_options({}))
      for (const std::string& name : o->get_lnames())
        cases += "          " + told("--" + name, o->get_description()) + "\n";
    cases += "        ) ;;\n";
  }
  return fmt::format(
      "#compdef lastmile\n"
      "_lastmile() {{\n"
      "  local -a commands flags\n"
      "  commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "  elif [[ $words[CURRENT] == -* ]]; then\n"
      "    case $words[2] in\n{}    esac\n"
      "    _describe option flags\n"
      "  else\n"
      "    _files\n"
      "  fi\n"
      "}}\n"
      "_lastmile \"$@\"\n",
      commands, cases);
}

std::string fish_completion(const CLI::App& root) {
  std::string out = "# fish completion for lastmile\n";
  for (const CLI::App* c : commands_of(root)) {
    out += fmt::format("complete -c lastmile -n __fish_use_subcommand -f -a {} -d {}\n",
                       c->get_name(), quoted(c->get_description()));
    for (const CLI::Option* o : c->get_options({}))
      for (const std::string& name : o->get_lnames())
        out +=
            fmt::format("complete -c lastmile -n '__fish_seen_subcommand_from {}' -l {}{} -d {}\n",
                        c->get_name(), name, o->get_type_size() != 0 ? " -r" : "",
                        quoted(o->get_description()));
  }
  return out;
}

// Text of a manual page: nothing of it is taken for a request or an escape.
std::string roff(const std::string& text) {
  std::string out;
  bool begins = true;
  for (const char c : text) {
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    begins = c == '\n';
  }
  return out;
}

void options_of(const CLI::App& app, std::string& out) {
  for (const std::string& group : app.get_groups()) {
    const auto in_group = app.get_options([&](const CLI::Option* o) {
      return o->get_group() == group && !group.empty() && o->nonpositional();
    });
    if (in_group.empty()) continue;
    std::string heading = group;
    std::transform(heading.begin(), heading.end(), heading.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    out += fmt::format(".SH {}\n", roff(heading));
    for (const CLI::Option* o : in_group)
      out += fmt::format(".TP\n.B {}\n{}\n", roff(option_names(*o)), roff(option_text(*o)));
  }
}

std::string manual(const CLI::App& root, const CLI::App* command) {
  const CLI::App& app = command == nullptr ? root : *command;
  const std::string name = command == nullptr ? "lastmile" : "lastmile-" + app.get_name();
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  std::string out =
      fmt::format(".TH {} 1 \"\" \"lastmile {}\" \"Lastmile\"\n", upper, version_number());
  out += fmt::format(".SH NAME\n{} \\- {}\n", roff(name), roff(app.get_description()));
  std::string usage = HelpFormatter().make_usage(&app, command == nullptr ? "lastmile" : "");
  usage.erase(0, std::string("Usage: ").size());
  usage.pop_back();  // the empty line
  out += fmt::format(".SH SYNOPSIS\n{}", roff(usage));
  const auto places = app.get_options([](const CLI::Option* o) { return o->get_positional(); });
  if (!places.empty()) out += ".SH ARGUMENTS\n";
  for (const CLI::Option* o : places)
    out += fmt::format(".TP\n.B {}\n{}\n", roff(o->get_name(true)), roff(option_text(*o)));
  options_of(app, out);
  if (command == nullptr) {
    out += ".SH COMMANDS\n";
    for (const CLI::App* c : commands_of(root))
      out += fmt::format(".TP\n.BR lastmile\\-{} (1)\n{}\n", roff(c->get_name()),
                         roff(c->get_description()));
  }
  return out + fmt::format(".SH EXIT STATUS\n{}\n", roff(root.get_footer()));
}

const std::map<std::string, std::string (*)(const CLI::App&)> kShells = {
    {"bash", bash_completion}, {"fish", fish_completion}, {"zsh", zsh_completion}};

}  // namespace

Subcommand completion_command(CLI::App& app) {
  auto* sub = app.add_subcommand("completion", "prints what completes command lines in a shell");
  auto shell = std::make_shared<std::string>();
  std::vector<std::string> names;
  for (const auto& [name, make] : kShells) names.push_back(name);
  sub->add_option("shell", *shell, "bash, fish or zsh")->required()->check(CLI::IsMember(names));
  return {sub, [&app, shell] {
            print_out("{}", kShells.at(*shell)(app));
            return 0;
          }};
}

Subcommand man_command(CLI::App& app) {
  auto* sub = app.add_subcommand("man", "prints the manual page of a command, or of all (troff)");
  auto name = std::make_shared<std::string>();
  sub->add_option("command", *name, "whose page (default: that of lastmile itself)");
  return {sub, [&app, name] {
            if (name->empty()) {
              print_out("{}", manual(app, nullptr));
              return 0;
            }
            if (const std::string wrong = unknown_command(app, *name); !wrong.empty())
              throw Error(ErrorKind::usage, wrong);
            print_out("{}", manual(app, app.get_subcommand(*name)));
            return 0;
          }};
}

}  // namespace lastmile
