// SPDX-License-Identifier: Apache-2.0
#include "sw/report/html.hpp"

#include <fmt/format.h>

#include <utility>

namespace lastmile::html {
namespace {

constexpr std::string_view kStyle =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color:#1c2430}"
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem;border-bottom:1px solid #ccd}"
    "table{border-collapse:collapse;margin:.8rem 0;display:block;overflow-x:auto}"
    "th,td{border:1px solid #dde;padding:.25rem .6rem;text-align:left}th{background:#f2f4f8}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}.note{color:#566;font-size:.88rem}svg{"
    "max-width:100%;height:auto}";

bool numeric(const std::string& s) {
  return !s.empty() && s.find_first_not_of("0123456789.,+-%eE x") == std::string::npos &&
         s.find_first_of("0123456789") != std::string::npos;
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Page::Page(std::string title) : title_(std::move(title)) {}

Page& Page::heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", escape(text));
  return *this;
}
Page& Page::paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape(text));
  return *this;
}
Page& Page::note(std::string_view text) {
  body_ += fmt::format("<p class=\"note\">{}</p>\n", escape(text));
  return *this;
}
Page& Page::table(const std::vector<std::string>& head,
                  const std::vector<std::vector<std::string>>& rows) {
  body_ += "<table><thead><tr>";
  for (const auto& h : head) body_ += fmt::format("<th>{}</th>", escape(h));
  body_ += "</tr></thead><tbody>\n";
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const auto& cell : row)
      body_ += fmt::format("<td{}>{}</td>", numeric(cell) ? " class=\"n\"" : "", escape(cell));
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table>\n";
  return *this;
}
Page& Page::raw(std::string_view html) {
  body_ += html;
  body_ += '\n';
  return *this;
}
std::string Page::str() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">"
      "<title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n{2}</body></html>\n",
      escape(title_), kStyle, body_);
}

}  // namespace lastmile::html
