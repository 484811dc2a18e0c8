#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds and runs every test on a Debian 12 or 13 machine (as root or with sudo).
#
#   bash test/run.sh [--coverage] [-- CTEST_OPTION...]
#
# --coverage   build in build-coverage/ with gcov and report the lines of include/ and src/ that the tests reach
# GLIOMAGRADING_HOME       virtual environment and compiler cache; default: ~/.cache/gliomagrading
# GLIOMAGRADING_TEST_DATA  real patients for the tests that want them; default: ../shared/data
set -euo pipefail

coverage=no
while [ $# -gt 0 ]; do
  case $1 in
    --coverage) coverage=yes ;;
    --) shift && break ;;
    -h | --help) sed -n '5,13s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) echo "error: unknown option '$1'; usage: bash test/run.sh [--coverage] [-- CTEST_OPTION...]" >&2 && exit 2 ;;
  esac
  shift
done

. "$(dirname "${BASH_SOURCE[0]}")/../CMake/setup-debian.sh"

install_packages "${build_packages[@]}" libgtest-dev
# The tests of the report's page want a browser (about 110 MB) and are skipped without one.
[ -n "${CHROMIUM-}" ] || command -v chromium chromium-browser google-chrome >/dev/null || (install_packages chromium) ||
  echo "Going on without a browser: the tests of report.html in one are skipped."
python_packages=("$torch_requirement" -r "$source_dir/test/requirements.txt")
# A build that the other command of the README began may have found the system's Python.
options=(-DBUILD_TESTING=ON -DGliomaGrading_BUILD_EXAMPLES=ON -DGliomaGrading_BUILD_PYTHON=ON "-DPython3_EXECUTABLE=$venv/bin/python3")
build_dir=$source_dir/build
if [ $coverage = yes ]; then
  build_dir=$source_dir/build-coverage
  python_packages+=("gcovr>=7")
  options+=(-DCMAKE_BUILD_TYPE=Debug "-DCMAKE_CXX_FLAGS=--coverage -O1 -fprofile-update=atomic")
fi
install_python_packages "${python_packages[@]}"
"$venv/bin/python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  install_packages python3-dev
install_report_viewer
options+=("$viewer_option")
# The tests in Python and the layout test find their packages here.
export VIRTUAL_ENV=$venv PATH="$venv/bin:$PATH"
configure_and_build "$build_dir" all "${options[@]}"

export GLIOMAGRADING_TEST_DATA=${GLIOMAGRADING_TEST_DATA:-$source_dir/../shared/data}
if [ -d "$GLIOMAGRADING_TEST_DATA" ]; then
  say "Tests, with the real patients of $GLIOMAGRADING_TEST_DATA"
else
  say "Tests, without real patients: $GLIOMAGRADING_TEST_DATA is absent (GLIOMAGRADING_TEST_DATA names their folder), so some tests are skipped"
fi
find "$build_dir" -name '*.gcda' -delete
rm -f "$build_dir/junit.xml"
outcome=0
ctest --test-dir "$build_dir" --output-on-failure --no-tests=error --output-junit "$build_dir/junit.xml" -j2 "$@" || outcome=$?

if [ $coverage = yes ]; then
  say "Lines of include/ and src/ that the tests reach"
  # One header is compiled into many tests: the same function on another line, or in another instantiation, is no error.
  (cd "$source_dir" && gcovr --root . --object-directory "$build_dir" --filter include/ --filter src/ --print-summary -j2 \
    --merge-mode-functions=separate --gcov-ignore-parse-errors=all --gcov-ignore-errors=no_working_dir_found \
    --txt "$build_dir/coverage.txt" "$build_dir") || outcome=1
  # The file also lists the lines that no test reaches.
  [ ! -f "$build_dir/coverage.txt" ] || cut -c 1-72 "$build_dir/coverage.txt"
fi
"$venv/bin/python" "$source_dir/test/count_results.py" "$build_dir/junit.xml" || outcome=1
exit $outcome
