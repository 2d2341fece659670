// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"

namespace lastmile {

TEST_CASE("report: text from users cannot become markup, in pages or in charts") {
  const std::string page =
      html::Page("a<b>").paragraph("x & \"y\" <script>").table({"h<"}, {{"<i>", "12.5"}}).str();
  CHECK(page.find("<script>") == std::string::npos);
  CHECK(page.find("&lt;script&gt;") != std::string::npos);
  CHECK(page.find("<td class=\"n\">12.5</td>") != std::string::npos);
  CHECK(page.find("http") == std::string::npos);
  const std::string script = gnuplot_script(
      Chart{.title = "it's\nsystem('id')", .series = {{"a", {0, 1}, {1, 2}, {}, {}}}});
  CHECK(script.find("'it''ssystem(''id'')'") != std::string::npos);
}

TEST_CASE("report: every kind of chart draws, with its numbers and names in the SVG") {
  if (!have_gnuplot()) {
    MESSAGE("SKIPPED: gnuplot is not installed (Debian package gnuplot-nox)");
    return;
  }
  Chart chart{.title = "Loss", .x_label = "step", .y_label = "nats"};
  chart.series = {{"fixed", {0, 1, 2}, {3, 2, 1}, {2.5, 1.5, 0.5}, {3.5, 2.5, 1.5}},
                  {"float", {0, 1, 2}, {3, 2.1, 1.2}, {}, {}}};
  chart.labels = {"one", "two", "three"};
  for (const auto kind : {Chart::Kind::lines, Chart::Kind::points, Chart::Kind::area,
                          Chart::Kind::bars, Chart::Kind::stacked_bars}) {
    chart.kind = kind;
    const std::string svg = to_svg(chart);
    CHECK(svg.starts_with("<svg"));
    CHECK(svg.find("Loss") != std::string::npos);
    CHECK(svg.find("float") != std::string::npos);
  }
  const std::string map = to_svg(
      HeatMap{.title = "Sweep", .columns = {"w8", "w16"}, .rows = {"a8"}, .values = {51.4, 12.7}});
  CHECK(map.starts_with("<svg"));
  CHECK(map.find("51.4") != std::string::npos);
}

}  // namespace lastmile
