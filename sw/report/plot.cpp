// SPDX-License-Identifier: Apache-2.0
#include "sw/report/plot.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "sw/base/io.hpp"
#include "sw/report/html.hpp"

extern char** environ;

namespace lastmile {
namespace {

// A string of gnuplot's: single quotes keep everything but themselves.
std::string quoted(const std::string& s) {
  std::string out = "'";
  for (const char c : s) {
    if (c == '\'')
      out += "''";
    else if (c != '\n')
      out += c;
  }
  return out + "'";
}

std::string preamble(const std::string& title, const std::string& x, const std::string& y,
                     int width, int height) {
  return fmt::format(
      "set terminal svg size {},{} dynamic noenhanced font 'sans-serif,12' background '#ffffff'\n"
      "set title {}\nset xlabel {}\nset ylabel {}\nset grid lc rgb '#dddddd'\nset key outside "
      "right top noenhanced\n"
      "set style fill solid 0.85 noborder\n",
      width, height, quoted(title), quoted(x), quoted(y));
}

std::string number(double v) {
  return std::isfinite(v) ? fmt::format("{:.9g}", v) : std::string("NaN");
}

std::string draw(const std::string& script) {
  const auto none = [](const std::string& why) {
    return fmt::format("<p class=\"note\">No chart: {}.</p>\n", html::escape(why));
  };
  if (!have_gnuplot()) return none("gnuplot is not installed (Debian package gnuplot-nox)");
  std::string dir = (std::filesystem::temp_directory_path() / "lastmile-plot-XXXXXX").string();
  if (::mkdtemp(dir.data()) == nullptr) return none("no temporary folder could be made");
  const std::filesystem::path folder(dir);
  const auto in = folder / "chart.gp";
  const auto out = folder / "chart.svg";
  write_file_atomic(in, fmt::format("set output {}\n{}", quoted(out.string()), script), false);
  std::string program = "gnuplot", file = in.string();
  std::array<char*, 3> argv = {program.data(), file.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  int status = -1;
  if (::posix_spawnp(&pid, "gnuplot", &actions, nullptr, argv.data(), environ) == 0)
    ::waitpid(pid, &status, 0);
  posix_spawn_file_actions_destroy(&actions);
  std::string svg;
  if (status == 0 && std::filesystem::exists(out)) svg = read_text_file(out);
  std::filesystem::remove_all(folder);
  const auto start = svg.find("<svg");
  return start == std::string::npos ? none("gnuplot failed") : svg.substr(start);
}

}  // namespace

bool have_gnuplot() {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const std::string dir = rest.substr(0, colon);
    if (!dir.empty() && ::access((dir + "/gnuplot").c_str(), X_OK) == 0) return true;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return false;
}

std::string gnuplot_script(const Chart& c) {
  std::string s = preamble(c.title, c.x_label, c.y_label, c.width, c.height);
  if (c.log_x) s += "set logscale x\n";
  if (c.log_y) s += "set logscale y\n";
  const bool bars = c.kind == Chart::Kind::bars || c.kind == Chart::Kind::stacked_bars;
  for (std::size_t i = 0; i < c.series.size(); ++i) {
    const Series& d = c.series[i];
    s += fmt::format("$d{} << EOD\n", i);
    for (std::size_t k = 0; k < d.y.size(); ++k) {
      if (bars) {
        s += fmt::format("{} {}\n", k, number(d.y[k]));
      } else {
        s += fmt::format("{} {}", number(d.x[k]), number(d.y[k]));
        if (!d.low.empty()) s += fmt::format(" {} {}", number(d.low[k]), number(d.high[k]));
        s += "\n";
      }
    }
    s += "EOD\n";
  }
  if (bars) {
    s += "set style data histograms\n";
    s += c.kind == Chart::Kind::bars ? "set style histogram clustered gap 1\n"
                                     : "set style histogram rowstacked\nset boxwidth 0.75\n";
    s += "set yrange [0:*]\nset xtics rotate by -35 noenhanced (";
    for (std::size_t k = 0; k < c.labels.size(); ++k)
      s += fmt::format("{}{} {}", k == 0 ? "" : ", ", quoted(c.labels[k]), k);
    s += ")\n";
  }
  s += "plot ";
  bool first = true;
  for (std::size_t i = 0; i < c.series.size(); ++i) {
    const Series& d = c.series[i];
    const auto add = [&](const std::string& part) {
      s += (first ? "" : ", \\\n  ") + part;
      first = false;
    };
    const std::string color = fmt::format("lt {}", i + 1);
    if (bars) {
      add(fmt::format("$d{} using 2 title {} {}", i, quoted(d.name), color));
      continue;
    }
    switch (d.marks ? Chart::Kind::points : c.kind) {
      case Chart::Kind::points:
        add(fmt::format("$d{} using 1:2 with points pt 7 ps 0.7 {} title {}", i, color,
                        quoted(d.name)));
        break;
      case Chart::Kind::area:
        add(fmt::format("$d{} using 1:2 with filledcurves y1=0 {} title {}", i, color,
                        quoted(d.name)));
        break;
      default:
        add(fmt::format("$d{} using 1:2 with lines lw 2 {} title {}", i, color, quoted(d.name)));
    }
    if (!d.low.empty())
      add(fmt::format("$d{} using 1:2:3:4 with yerrorbars pt 0 {} notitle", i, color));
  }
  return s + "\n";
}

std::string gnuplot_script(const HeatMap& m) {
  std::string s = preamble(m.title, m.x_label, m.y_label, m.width, m.height);
  s += "unset key\nunset grid\nset palette defined (0 '#f7f3e9', 0.5 '#7fbf9f', 1 '#1f5f7f')\n";
  const auto ticks = [&](const char* axis, const std::vector<std::string>& names) {
    s += fmt::format("set {}tics noenhanced (", axis);
    for (std::size_t k = 0; k < names.size(); ++k)
      s += fmt::format("{}{} {}", k == 0 ? "" : ", ", quoted(names[k]), k);
    s += ")\n";
  };
  ticks("x", m.columns);
  ticks("y", m.rows);
  s += fmt::format("set xrange [-0.5:{}.5]\nset yrange [-0.5:{}.5]\n$d << EOD\n",
                   static_cast<int>(m.columns.size()) - 1, static_cast<int>(m.rows.size()) - 1);
  for (std::size_t r = 0; r < m.rows.size(); ++r)
    for (std::size_t k = 0; k < m.columns.size(); ++k)
      s += fmt::format("{} {} {}\n", k, r, number(m.values[r * m.columns.size() + k]));
  s += "EOD\nplot $d using 1:2:3 with image, $d using 1:2:(sprintf('%.4g',$3)) with labels font "
       "'sans-serif,11'\n";
  return s;
}

std::string to_svg(const Chart& chart) { return draw(gnuplot_script(chart)); }
std::string to_svg(const HeatMap& map) { return draw(gnuplot_script(map)); }

}  // namespace lastmile
