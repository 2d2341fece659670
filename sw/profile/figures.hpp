// SPDX-License-Identifier: Apache-2.0
// Numbers for people: a unit in which one to three digits stand before the point, separators of
// thousands, no exponents. JSON and CSV keep one unit and all digits.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lastmile::profile {

// So many significant digits: "69.5", "0.0123", "1,234,568".
[[nodiscard]] std::string plain(double value, int digits = 3);
// "6,466,396".
[[nodiscard]] std::string counted(double value);
// The same with its sign, "+3,840"; "0" of nothing.
[[nodiscard]] std::string change(double value);
// "2.46 MB", "196.7 kB", "120 B".
[[nodiscard]] std::string bytes_text(double bytes);
// "69.5 mJ", of picojoules.
[[nodiscard]] std::string energy_of_pj(double pj, int digits = 3);
// "3.235 mJ (2.78 to 5.88)", of an interval {value, low, high} times pj_per_unit; one unit for all.
[[nodiscard]] std::string energy_interval(const nlohmann::json& interval, double pj_per_unit);
// "0.496 (0.495 to 0.497)".
[[nodiscard]] std::string ratio_interval(const nlohmann::json& interval);

}  // namespace lastmile::profile
