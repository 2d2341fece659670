#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Finds how to compile against the installed SystemC library, whose link symbol names the C++ standard it was built
# with.
#
# usage: probe.sh COMPILER OUTPUT [PREFIX]     PREFIX: of a SystemC that is not where the compiler looks by itself
# OUTPUT gets two lines, compiler flags and linker flags; without the library it gets the line "absent", with one that
# no standard fits the line "unusable" and what the linker said. The project is C++20; SystemC's own switch
# SC_CPLUSPLUS lets its headers take the form of another standard, so nothing else changes.
set -u
compiler=$1 output=$2 prefix=${3:-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
include='' library=''
if [[ -n $prefix ]]; then
  include="-isystem $prefix/include"
  for d in "$prefix"/lib "$prefix"/lib64 "$prefix"/lib-linux64; do
    [[ -e $d/libsystemc.so || -e $d/libsystemc.a ]] && library="-L$d -Wl,-rpath,$d"
  done
fi
printf '%s\n' '#include <systemc>' '#include <tlm>' \
  'int sc_main(int, char**) { sc_core::sc_event e("e"); sc_core::sc_start(); return 0; }' > "$work/p.cpp"
printf '#include <systemc>\n' > "$work/h.cpp"
mkdir -p "$(dirname "$output")"
# shellcheck disable=SC2086
if ! $compiler -std=c++20 $include -E "$work/h.cpp" > /dev/null 2>&1; then
  echo absent > "$output"
  exit 0
fi
for standard in '' 201703L 201402L 202002L 201103L; do
  flags="$include${standard:+ -DSC_CPLUSPLUS=$standard}"
  # shellcheck disable=SC2086
  if $compiler -std=c++20 $flags "$work/p.cpp" -o "$work/p" $library -lsystemc -lpthread > "$work/log" 2>&1 &&
    "$work/p" > /dev/null 2>&1; then
    printf '%s\n%s\n' "$flags" "$library -lsystemc" > "$output"
    exit 0
  fi
done
{ echo unusable; tail -3 "$work/log"; } > "$output"
