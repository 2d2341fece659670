// SPDX-License-Identifier: Apache-2.0
// Standard streams that cannot hurt: a message that cannot be written changes neither a file nor
// what the exit code means.
#pragma once

#include <string_view>

namespace lastmile {

// First thing in main: descriptors 0 to 2 that are closed become ones that nothing can be read from
// or written to (else the next file that is opened would be the program's stdout or stderr, and
// messages would land in it), and a reader that goes away (`| head`) is an error of that write
// instead of the end of the process.
void secure_standard_streams();

// From here on stdout is for print_result alone: what libraries print there goes to stderr, so that
// `--json` is one document and nothing else.
void keep_stdout_for_results();

// To stderr; where that fails, nowhere. Control characters of names do not get through (text.hpp).
void print_error(std::string_view text);

// A line on stderr that --quiet does not silence: what was lost or left out.
void warn(std::string_view text);

// To stdout: results. What could not be written is known to results_lost() once all is said.
void print_result(std::string_view text);
[[nodiscard]] bool results_lost();
// The descriptor that they go to.
[[nodiscard]] int result_descriptor();

}  // namespace lastmile
