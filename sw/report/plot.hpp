// SPDX-License-Identifier: Apache-2.0
// Charts as SVG text, drawn by gnuplot (Debian: gnuplot-nox). Where gnuplot is not installed a
// report still comes out, with a line in place of each chart that says so.
#pragma once

#include <string>
#include <vector>

namespace lastmile {

struct Series {
  std::string name = {};
  std::vector<double> x = {}, y = {};       // equal lengths
  std::vector<double> low = {}, high = {};  // both empty, or an interval for every point
  bool marks = false;                       // points, in a chart of lines
};

struct Chart {
  enum class Kind { lines, points, bars, stacked_bars, area };
  std::string title = {}, x_label = {}, y_label = {};
  Kind kind = Kind::lines;
  bool log_x = false, log_y = false;
  // Bars: one label per position; every series has y of the same length, x is ignored.
  std::vector<std::string> labels = {};
  std::vector<Series> series = {};
  int width = 760, height = 360;
};

// A matrix of numbers as coloured cells with the number in each; NaN cells stay empty.
struct HeatMap {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<std::string> columns = {}, rows = {};
  std::vector<double> values = {};  // row-major, rows x columns
  int width = 760, height = 360;
};

[[nodiscard]] bool have_gnuplot();
// The <svg> element, or a paragraph that says why there is none.
[[nodiscard]] std::string to_svg(const Chart& chart);
[[nodiscard]] std::string to_svg(const HeatMap& map);
// The gnuplot program with its data inline (what the tests look at).
[[nodiscard]] std::string gnuplot_script(const Chart& chart);
[[nodiscard]] std::string gnuplot_script(const HeatMap& map);

}  // namespace lastmile
