// SPDX-License-Identifier: Apache-2.0
// Self-contained HTML pages: one file, no script, nothing fetched.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lastmile::html {

[[nodiscard]] std::string escape(std::string_view text);

class Page {
 public:
  explicit Page(std::string title);
  Page& heading(std::string_view text);
  Page& paragraph(std::string_view text);
  Page& note(std::string_view text);  // small print
  // Cells are escaped; those that look like numbers are right-aligned.
  Page& table(const std::vector<std::string>& head,
              const std::vector<std::vector<std::string>>& rows);
  Page& raw(std::string_view html);  // charts
  [[nodiscard]] std::string str() const;

 private:
  std::string title_;
  std::string body_;
};

}  // namespace lastmile::html
