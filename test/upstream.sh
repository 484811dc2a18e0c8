#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Builds and tests the committed module in every way it can reach a user of the current ITK. No part of test/run.sh or CI.
#
#   bash test/upstream.sh [--work FOLDER] [STAGE...]
#
# Without stages: all of them, in this order. A stage that passed at this commit, or at one that differs in documents (*.md) alone,
# is not repeated; the others go on where they stopped. The end lists what passed and what failed.
#
#   conventions  ITK's clang-format, KWStyle, Doxygen, pre-commit's hooks and the names that ITK 6 removed, against the sources
#   in-tree      inside ITK's tree, shared, by GliomaGrading.remote.cmake: build, C++ tests, header test, and a program that finds
#                the module in that tree's installation
#   installed    the installed-ITK way on an installation without the module: build, all tests, glioma and the Python package
#   external     ITKModuleExternal against the build tree of that installation: build, C++ tests
#   static       inside ITK's tree, static: build, C++ tests
#   warnings     the sources once more inside ITK's tree, with its dashboard's warning flags, by gcc and clang
#   wrapped      inside an ITK tree with Python: build, C++ tests
#   python       the tests of the itk package (wrapping/test), compared with what 'installed' built
#   debian13     both commands of the README in a fresh Debian 13, then its gcc's warnings (root and debootstrap)
#
# UPSTREAM_WORK       work folder, outside the checkout; default: /var/tmp/gliomagrading-upstream. A file
#                     insighttoolkit5_*.orig.tar.xz that lies there is used instead of a download
# UPSTREAM_JOBS       compilers at a time; default: as many as processors
# GLIOMAGRADING_HOME  virtual environment and compiler cache; default: ~/.cache/gliomagrading
set -euo pipefail

stages=(conventions in-tree installed external static warnings wrapped python debian13)
work=${UPSTREAM_WORK:-/var/tmp/gliomagrading-upstream}
chosen=()
while [ $# -gt 0 ]; do
  case $1 in
    --work) work=${2:?--work wants a folder} && shift ;;
    -h | --help) sed -n '5,29s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *)
      [[ " ${stages[*]} " == *" $1 "* ]] || { echo "error: unknown stage '$1'; the stages are ${stages[*]}" >&2 && exit 2; }
      chosen+=("$1")
      ;;
  esac
  shift
done
[ ${#chosen[@]} -gt 0 ] || chosen=("${stages[@]}")

. "$(dirname "${BASH_SOURCE[0]}")/../CMake/setup-debian.sh"
mkdir -p "$work/done" "$work/logs"
work=$(cd "$work" && pwd)
case $work/ in "$source_dir"/*) fail "the work folder must lie outside the checkout: $work" ;; esac
commit=$(git -C "$source_dir" rev-parse HEAD)
# What a stage's outcome depends on.
content=$(git -C "$source_dir" ls-tree -r HEAD | grep -v '\.md$' | sha256sum | cut -d ' ' -f 1)
# All that is tested comes from a clone.
sources=$work/GliomaGrading
[ -z "$(git -C "$source_dir" status --porcelain --untracked-files=no)" ] ||
  echo "The checkout has changes that are not committed: they are not tested."

cat <<TEXT
Commit $commit, work folder $work ($(df -h --output=avail "$work" | tail -n 1 | tr -d ' ') free).
All stages are estimated at 8 hours on two idle cores the first time, and 35 GB: ITK's source 0.4 GB to download, 1.5 GB on disk;
conventions 2 minutes; in-tree 40 minutes, 3 GB; installed 60 minutes, 4 GB; external 20 minutes, 1 GB; static 40 minutes, 3 GB;
warnings 15 minutes; wrapped 3 hours, 8 GB; python 10 minutes; debian13 80 minutes, 15 GB. A second run takes what has changed.
TEXT

export CCACHE_DIR=${CCACHE_DIR:-$glioma_home/ccache} CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1
export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-5G}
jobs=${UPSTREAM_JOBS:-$(nproc)}
# The real patients, whether they are there or not.
data=$(realpath -m "${GLIOMAGRADING_TEST_DATA:-$source_dir/../shared/data}")
in_tree=Modules/Remote/GliomaGrading
# ITK compiles the time of its configuration in; a new one would link all of it again, an hour with Python.
export SOURCE_DATE_EPOCH=1
# The trees share what they compile.
cached=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)

# What the stages share.
# complain TEXT: the function that calls it goes on and fails.
complain()
{
  echo "error: $*"
  outcome=1
}

itk_source()
{
  local archive options
  archive=$(find "$work" -maxdepth 1 -name 'insighttoolkit5_*.orig.tar.xz' | sort | tail -n 1)
  if [ -z "$archive" ]; then
    say "ITK's source from Debian sid (0.4 GB)"
    install_packages debian-archive-keyring
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
    # A list of its own: the machine's stays as it is.
    echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian sid main' >"$work/apt/sources.list"
    options=(-o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/apt/lists"
      -o "Dir::Cache=$work/apt" -o APT::Sandbox::User=)
    apt-get "${options[@]}" -q update && (cd "$work" && apt-get "${options[@]}" source --download-only insighttoolkit5/sid) || return 1
    archive=$(find "$work" -maxdepth 1 -name 'insighttoolkit5_*.orig.tar.xz' | sort | tail -n 1)
  fi
  itk_version=$(basename "$archive" | sed 's/insighttoolkit5_\(.*\)\.orig\.tar\.xz/\1/')
  itk_dir=$work/InsightToolkit-$itk_version
  if [ ! -f "$itk_dir/CMakeLists.txt" ]; then
    rm -rf "$work/unpacking" && mkdir "$work/unpacking"
    # With its data: tests of ITK's own that the wrapped tree builds want some.
    tar -xf "$archive" -C "$work/unpacking" || return 1
    mv "$work/unpacking"/InsightToolkit-* "$itk_dir" && rmdir "$work/unpacking"
  fi
  # Builds of another ITK would be taken for this one's.
  [ -f "$work/itk-version" ] || echo "$itk_version" >"$work/itk-version"
  [ "$(cat "$work/itk-version")" = "$itk_version" ] ||
    { echo "error: $work holds builds of ITK $(cat "$work/itk-version"); give another --work for ITK $itk_version." && return 1; }
  [ -d "$sources" ] || git clone -q "$source_dir" "$sources" || return 1
  git -C "$sources" fetch -q "$source_dir" HEAD && git -C "$sources" checkout -q "$commit" || return 1
  # ITK fetches the module itself; through a link it would rename the remotes of the checkout. So it does, with an error in the log, where
  # an earlier run's checkout was another.
  [ ! -L "$itk_dir/$in_tree" ] || rm "$itk_dir/$in_tree"
  [ ! -d "$itk_dir/$in_tree/.git" ] || git -C "$itk_dir/$in_tree" remote set-url origin "$source_dir"
  # Only where it differs: all of ITK depends on it.
  cmp -s "$sources/GliomaGrading.remote.cmake" "$itk_dir/Modules/Remote/GliomaGrading.remote.cmake" ||
    cp "$sources/GliomaGrading.remote.cmake" "$itk_dir/Modules/Remote/"
}

tools()
{
  install_packages "${build_packages[@]}" castxml doxygen git
  install_python_packages "$torch_requirement" clang-format==19.1.7 numpy xarray -r "$sources/test/requirements.txt"
  torch_root=$("$venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')
  # ITK takes SWIG 4.2 or newer; its own module needs this one.
  [ -x "$work/tools/bin/swig" ] || "$venv/bin/python" -m venv "$work/tools"
  "$work/tools/bin/python" -m pip install --disable-pip-version-check -q swig==4.3.1
}

# configure_itk BUILD [OPTION...]: only the modules that ours needs.
configure_itk()
{
  local build=$1
  shift
  nice cmake -S "$itk_dir" -B "$build" -G Ninja "${cached[@]}" -DCMAKE_BUILD_TYPE=Release -DITK_BUILD_DEFAULT_MODULES=OFF -DITKGroup_Core=OFF \
    -DModule_GliomaGrading=ON "-DGliomaGrading_GIT_REPOSITORY=$source_dir" "-DGliomaGrading_GIT_TAG=$commit" \
    "-DModule_GliomaGrading_GIT_TAG=$commit" \
    -DITK_FORBID_DOWNLOADS=OFF -DITK_USE_CLANG_FORMAT=OFF -DITK_USE_KWSTYLE=OFF -DBUILD_TESTING=ON "-DGliomaGrading_TORCH_ROOT=$torch_root" "$@"
}

# What fails does not keep the rest from being built: hours run unattended.
build() { nice ninja -k 0 -C "$1" -j "$jobs" "${@:2}"; }

# run_ctest FOLDER: the tests of a folder of a build tree. In ITK's tree those of a module lie in its folder test.
run_ctest()
{
  VIRTUAL_ENV=$venv PATH="$venv/bin:$PATH" GLIOMAGRADING_TEST_DATA=$data ctest --test-dir "$1" --output-on-failure --no-tests=error \
    --output-junit "$1/junit.xml" -j "$jobs" || return 1
  "$venv/bin/python" "$sources/test/count_results.py" "$1/junit.xml" | tee "$1/results.txt" || return 1
  # All but a GPU is there.
  ! grep '^Skipped: ' "$1/results.txt" | grep -v 'Cuda$' || { echo "error: tests were skipped" && return 1; }
}

# ITK leaves its header tests out without a word where it finds no Python.
header_tests()
{
  local number
  for number in 1 2; do
    [ -n "$(find "$1" -name "GliomaGradingHeaderTest$number.cxx.o")" ] || { echo "error: GliomaGradingHeaderTest$number is not built" && return 1; }
  done
}

# in_tree_tests BUILD: the module's tests in a tree of ITK, and what ITK makes of it by itself.
in_tree_tests()
{
  local odd
  run_ctest "$1/$in_tree/test" && ctest --test-dir "$1/$in_tree" --no-tests=error -R GliomaGradingInDoxygenGroup --output-on-failure || return 1
  header_tests "$1" || return 1
  odd=$(ctest --test-dir "$1/$in_tree/test" -N | sed -n 's/^ *Test *#[0-9]*: //p' | sed 's/  # GetParam.*//' |
    grep -vE '^(GliomaGrading|itk)[A-Za-z0-9-]+$|^([A-Z][A-Za-z0-9]+\/)?[A-Z][A-Za-z0-9]+\.[A-Za-z0-9]+(\/[A-Za-z0-9]+)?$' || true)
  [ -z "$odd" ] || { echo "error: tests without a name in ITK's manner: $odd" && return 1; }
  nothing_of_itk "$1"
}

# nothing_of_itk BUILD: fails where a changed source and a changed header of ours would build anything of ITK again.
nothing_of_itk()
{
  local touched steps=$work/logs/steps.txt foreign ours outcome=0
  ours=$(find "$itk_dir/$in_tree/include" -name 'itk*.h' -printf '%f\n' | sed 's/\.h$//' | paste -sd '|')
  for touched in src/Sha256.cxx include/itkUprightGridCalculator.h; do
    touched=$itk_dir/$in_tree/$touched
    touch -r "$touched" "$work/time" && touch "$touched"
    ninja -C "$1" -n >"$steps" || outcome=1
    touch -r "$work/time" "$touched"
    grep -q 'GliomaGrading.*\.o$' "$steps" || complain "a change of $touched builds nothing"
    # For all modules at once ITK does these: each of its Python modules is linked with every library, and one step writes all stubs.
    foreign=$(grep -E '^\[[0-9]+/[0-9]+\]' "$steps" | grep -vE "GliomaGrading|Re-checking globbed|$ours" |
      grep -vE 'Linking CXX shared module .*/_ITK[A-Za-z0-9]+Python\.|Generating \.pyi files' || true)
    [ -z "$foreign" ] || complain "a change of $touched builds again: $foreign"
  done
  return $outcome
}

# hooks CLONE: what ITK's pre-commit runs, as far as PyPI has it. They mend files; binary ones are none of theirs.
hooks()
{
  local bin=$work/tools/bin outcome=0 hook python text
  "$bin/python" -m pip install --disable-pip-version-check -q black==24.2.0 pyupgrade==3.19.0 pre-commit-hooks==5.0.0
  cd "$1"
  mapfile -t python < <(git ls-files '*.py' '*.pyi')
  mapfile -t text < <(git grep -Il '')
  "$bin/black" -q --target-version py39 "${python[@]}" && "$bin/pyupgrade" --py39-plus "${python[@]}" || outcome=1
  "$bin/name-tests-test" --pytest-test-first $(git ls-files '*/tests/*.py') || outcome=1
  for hook in check-ast debug-statement-hook; do "$bin/$hook" "${python[@]}" || outcome=1; done
  for hook in json toml xml; do "$bin/check-$hook" $(git ls-files "*.$hook") || outcome=1; done
  "$bin/check-yaml" $(git ls-files '*.yml' '*.yaml') || outcome=1
  "$bin/check-merge-conflict" --assume-in-merge "${text[@]}" || outcome=1
  # The exceptions of CONTRIBUTING.md: weights, and the README's picture.
  "$bin/check-added-large-files" --enforce-all --maxkb=200 $(git ls-files | grep -vE '\.safetensors$|overview-phantom\.png$') || outcome=1
  for hook in check-case-conflict forbid-new-submodules check-vcs-permalinks check-shebang-scripts-are-executable destroyed-symlinks \
    detect-private-key end-of-file-fixer mixed-line-ending trailing-whitespace-fixer; do
    "$bin/$hook" "${text[@]}" || outcome=1
  done
  git diff --stat --exit-code || outcome=1
  git checkout -q .
  return $outcome
}

# As CONTRIBUTING.md makes the file for ITK's Modules/Remote: it wants no variable any more.
topic_branch()
{
  local script
  script=$(sed -n 's/^    \(sed .*GliomaGrading.remote.cmake\)$/\1/p' "$sources/CONTRIBUTING.md")
  [ -n "$script" ] && (cd "$sources" && bash -c "$script") >"$work/topic.remote.cmake" || return 1
  cat >"$work/topic.cmake" <<TEXT
function(itk_fetch_module name description)
  message(STATUS "\${name} \${ARGN}")
endfunction()
set(Module_GliomaGrading ON)
include("$work/topic.remote.cmake")
TEXT
  cmake -P "$work/topic.cmake" | tee "$work/topic.txt"
  grep -qx -e '-- GliomaGrading MODULE_COMPLIANCE_LEVEL;2;GIT_REPOSITORY;ADDRESS;GIT_TAG;HASH' "$work/topic.txt"
}

stage_conventions()
{
  itk_source && tools || return 1
  install_packages kwstyle
  local list=$work/kwstyle-files.txt outcome=0 file
  echo "ITK's clang-format:"
  while read -r file; do
    "$venv/bin/clang-format" "--style=file:$itk_dir/.clang-format" "$sources/$file" | cmp -s "$sources/$file" - || complain "it changes $file"
  done < <(git -C "$sources" ls-files '*.h' '*.hxx' '*.cxx')
  echo "KWStyle:"
  printf "$sources/%s\n" 'include/itk*.h' 'include/itk*.hxx' 'src/*.cxx' 'src/*.h' 'test/*.cxx' >"$list"
  (cd "$itk_dir" && KWStyle -xml Utilities/KWStyle/ITK.kws.xml -v -o Utilities/KWStyle/ITKOverwrite.txt -D "$list" -gcc) || complain "KWStyle complains"
  echo "Doxygen:"
  printf '%s\n' "INPUT=$sources/include" 'GENERATE_HTML=NO' 'GENERATE_LATEX=NO' 'GENERATE_XML=YES' 'QUIET=YES' 'EXTRACT_ALL=NO' 'WARN_IF_UNDOCUMENTED=NO' \
    'FILE_PATTERNS=*.h' 'MACRO_EXPANSION=YES' 'PREDEFINED=ITK_TEMPLATE_EXPORT= GliomaGrading_EXPORT= ITK_DISALLOW_COPY_AND_MOVE(x)=' \
    "OUTPUT_DIRECTORY=$work/doxygen" "WARN_LOGFILE=$work/logs/doxygen.txt" >"$work/Doxyfile"
  mkdir -p "$work/doxygen" && rm -f "$work/logs/doxygen.txt"
  doxygen "$work/Doxyfile" && [ -f "$work/logs/doxygen.txt" ] && [ ! -s "$work/logs/doxygen.txt" ] || complain "Doxygen warns"
  cat "$work/logs/doxygen.txt" || outcome=1
  "$venv/bin/python" "$sources/test/check_sources.py" itk6 "$sources" || complain "names that ITK 6 has not"
  echo "Hooks of ITK's pre-commit:"
  (hooks "$sources") || complain "a hook complains"
  echo "The topic branch's file:"
  topic_branch || complain "it does not name the address and the hash"
  return $outcome
}

stage_in-tree()
{
  itk_source && tools || return 1
  configure_itk "$work/shared" -DBUILD_SHARED_LIBS=ON "-DCMAKE_INSTALL_PREFIX=$work/shared-installed" && build "$work/shared" || return 1
  in_tree_tests "$work/shared" || return 1
  build "$work/shared" install || return 1
  # A project that asks the installed ITK for the module as for any other.
  mkdir -p "$work/consumer-source"
  cp "$sources/test/package-consumer/consumer.cxx" "$work/consumer-source/"
  cat >"$work/consumer-source/CMakeLists.txt" <<'TEXT'
cmake_minimum_required(VERSION 3.16.3)
project(Consumer LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(ITK REQUIRED COMPONENTS GliomaGrading ITKIONIFTI)
include(${ITK_USE_FILE})
add_executable(consumer consumer.cxx)
target_link_libraries(consumer PRIVATE ${ITK_LIBRARIES})
TEXT
  rm -rf "$work/consumer"
  nice cmake -S "$work/consumer-source" -B "$work/consumer" -G Ninja "-DITK_DIR=$(installed_package "$work/shared-installed")" &&
    build "$work/consumer" || return 1
  # ITK's libraries know nothing of the folder that they are installed in.
  LD_LIBRARY_PATH=$(dirname "$(find "$work/shared-installed" -name 'libITKCommon-*.so' | head -n 1)") "$work/consumer/consumer" \
    "$sources/examples/glioma/models/segmentation" "$sources/examples/glioma/models/grading"
}

installed_package() { dirname "$(find "$1" -name ITKConfig.cmake | head -n 1)"; }

# An ITK without our module, as a user has it: built and installed. Its libraries do not find each other by themselves outside the system's
# folders.
plain_itk()
{
  local modules module
  # The components that the installed-ITK way asks for, and what its tests and the external way need.
  modules=$(sed -n '/^set(GliomaGrading_.*ITK_COMPONENTS/,/^)/s/^ *\(ITK[A-Za-z0-9]*\).*/-DModule_\1=ON/p' "$sources/CMake/GliomaGradingInstalledITK.cmake")
  [ -n "$modules" ] || return 1
  for module in ITKTestKernel ITKBiasCorrection ITKGoogleTest ITKMetaIO; do modules+=" -DModule_$module=ON"; done
  # shellcheck disable=SC2086
  nice cmake -S "$itk_dir" -B "$work/plain" -G Ninja "${cached[@]}" -DCMAKE_BUILD_TYPE=Release -DITK_BUILD_DEFAULT_MODULES=OFF -DITKGroup_Core=OFF \
    -DBUILD_SHARED_LIBS=ON -DBUILD_TESTING=OFF $modules "-DCMAKE_INSTALL_PREFIX=$work/plain-installed" '-DCMAKE_INSTALL_RPATH=$ORIGIN' && build "$work/plain" install
}

stage_installed()
{
  itk_source && tools && plain_itk || return 1
  install_packages libgtest-dev
  # SWIG, and what the tests in Python import.
  local -x VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
  nice cmake -S "$sources" -B "$work/installed" -G Ninja "-DITK_DIR=$(installed_package "$work/plain-installed")" -DBUILD_TESTING=ON \
    -DGliomaGrading_BUILD_EXAMPLES=ON -DGliomaGrading_BUILD_PYTHON=ON "-DGliomaGrading_TORCH_ROOT=$torch_root" \
    "-DPython3_EXECUTABLE=$venv/bin/python3" && build "$work/installed" &&
    run_ctest "$work/installed"
}

stage_external()
{
  itk_source && tools && plain_itk || return 1
  nice cmake -S "$sources" -B "$work/external" -G Ninja "${cached[@]}" -DCMAKE_BUILD_TYPE=Release "-DITK_DIR=$work/plain" -DBUILD_TESTING=ON \
    -DITK_USE_CLANG_FORMAT=OFF -DITK_USE_KWSTYLE=OFF "-DGliomaGrading_TORCH_ROOT=$torch_root" && build "$work/external" && run_ctest "$work/external" &&
    header_tests "$work/external"
}

stage_static()
{
  itk_source && tools || return 1
  configure_itk "$work/static" -DBUILD_SHARED_LIBS=OFF && build "$work/static" && in_tree_tests "$work/static"
}

stage_warnings()
{
  itk_source && tools || return 1
  install_packages clang-19
  local compiler outcome=0
  for compiler in gcc clang-19; do
    echo "$compiler $("$compiler" -dumpversion):"
    # Each configured anew: which flags a compiler knows is asked then.
    # Precompiled headers would have to be built first.
    configure_itk "$work/warnings-$compiler" -DBUILD_SHARED_LIBS=ON -DGliomaGrading_PRECOMPILE_TORCH=OFF "-DCMAKE_C_COMPILER=$compiler" \
      "-DCMAKE_CXX_COMPILER=$(sed 's/^gcc/g++/; s/^clang/clang++/' <<<"$compiler")" >"$work/logs/warnings-$compiler.txt" || return 1
    nice "$venv/bin/python" "$sources/test/check_warnings.py" "$work/warnings-$compiler" "$itk_dir/$in_tree" --jobs "$jobs" || complain "$compiler warns"
  done
  # The application, the package and the tests that ITK's tree does not build.
  passed installed || stage_installed || return 1
  echo "gcc $(gcc -dumpversion), the installed-ITK way:"
  nice "$venv/bin/python" "$sources/test/check_warnings.py" "$work/installed" "$sources" --itk "$itk_dir" --jobs "$jobs" || complain "gcc warns"
  return $outcome
}

stage_wrapped()
{
  itk_source && tools || return 1
  # ITK writes this file anew at every configuration, once a module, and CastXML's two hours depend on it.
  local flags=$work/wrapped/Wrapping/castxml_inputs/.castxml.inc outcome=0
  [ ! -f "$flags" ] || cp -p "$flags" "$work/castxml.inc"
  # Three dimensions and the default types, and vectors of two, which GradientRecursiveGaussianImageFilter.wrap takes for granted.
  # CMake before 3.26 does not find what the limited API needs. Thousands of wrappers would push all else out of the compiler's cache.
  configure_itk "$work/wrapped" -DCMAKE_C_COMPILER_LAUNCHER= -DCMAKE_CXX_COMPILER_LAUNCHER= -DBUILD_SHARED_LIBS=ON \
    -DITK_WRAP_PYTHON=ON -DITK_WRAP_IMAGE_DIMS=3 '-DITK_WRAP_VECTOR_COMPONENTS=2;3;4' -DITK_WRAP_DOC=ON \
    -DITK_USE_SYSTEM_SWIG=ON "-DSWIG_EXECUTABLE=$work/tools/bin/swig" -DITK_USE_SYSTEM_CASTXML=ON -DITK_USE_PYTHON_LIMITED_API=OFF \
    "-DPython3_EXECUTABLE=$venv/bin/python" || outcome=1
  # Nothing new in it is no reason to begin again: the folders of a module that nobody needs any more may be gone.
  [ ! -f "$work/castxml.inc" ] || grep -qvxFf "$work/castxml.inc" "$flags" || touch -r "$work/castxml.inc" "$flags"
  [ $outcome -eq 0 ] || return 1
  build "$work/wrapped" && in_tree_tests "$work/wrapped"
}

stage_python()
{
  local tests=$work/wrapped/Wrapping/Modules/GliomaGrading
  itk_source && tools || return 1
  passed installed || stage_installed || return 1
  passed wrapped || stage_wrapped || return 1
  GLIOMAGRADING_PROGRAM=$work/installed/bin/glioma GLIOMAGRADING_PACKAGES=$work/installed/python run_ctest "$tests" || return 1
  # All that they want is there: a skipped test is a failed one.
  ! grep -o '<testcase name="[^"]*"[^>]*status="\(notrun\|disabled\)"' "$tests/junit.xml"
}

stage_debian13()
{
  local root=$work/debian13 base=$work/debian13-base mirror named folders=()
  itk_source || return 1
  [ "$(id -u)" -eq 0 ] || { echo "error: debootstrap and chroot need root" && return 1; }
  install_packages debootstrap debian-archive-keyring
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 2>/dev/null | grep -m 1 '/debian/*$' || echo http://deb.debian.org/debian)
  if [ ! -f "$base/.made" ]; then
    rm -rf --one-file-system "$base"
    debootstrap --variant=minbase --include=ca-certificates,git --keyring=/usr/share/keyrings/debian-archive-keyring.gpg trixie "$base" "$mirror" &&
      touch "$base/.made" || return 1
  fi
  # What a run before this one installed would hide what the commands do not.
  rm -rf --one-file-system "$root" && cp -a "$base" "$root" || return 1
  # This machine's ways to its packages: the resolver's, apt's, npm's, and pip's with the files and folders that it names.
  cp -L /etc/resolv.conf "$root/etc/" || true
  apt-config dump | grep '^Acquire::.*[Pp]roxy' >"$root/etc/apt/apt.conf.d/99machine" || true
  [ ! -f /etc/pip.conf ] || install -D /etc/pip.conf "$root/etc/pip.conf"
  [ ! -f "$HOME/.npmrc" ] || install -D "$HOME/.npmrc" "$root/root/.npmrc"
  [ ! -f "$HOME/.config/pip/pip.conf" ] || install -D "$HOME/.config/pip/pip.conf" "$root/root/.config/pip/pip.conf"
  for named in $("$(find_python)" -m pip config list | grep -oE '/[A-Za-z0-9._/-]+' | sort -u); do
    # The files of an index lie beside its pages.
    named=${named%/simple}
    if [ -f "$named" ]; then
      install -D "$named" "$root$named"
    elif [ -d "$named" ] && [ "$named" != / ]; then
      mkdir -p "$root$named" && folders+=("$named")
    fi
  done
  [ ! -d "$data" ] || { mkdir -p "$root$data" && folders+=("$data"); }
  # The list of warning flags.
  install -D "$itk_dir/CMake/ITKSetStandardCompilerFlags.cmake" "$root/root/itk/CMake/ITKSetStandardCompilerFlags.cmake"
  git clone -q "$source_dir" "$root/root/GliomaGrading" && git -C "$root/root/GliomaGrading" checkout -q "$commit" || return 1
  # In a name space of its own, so that nothing stays mounted. From nothing: only what the two commands install themselves.
  nice unshare --mount bash -s "$root" "$data" ${folders[@]+"${folders[@]}"} <<'TEXT'
set -e
root=$1
data=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for folder in "$@"; do mount --bind "$folder" "$root$folder"; done
mapfile -t kept < <(env | grep -E '^(https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY|PIP_[A-Z_]*|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS|npm_config_[a-z_]*)=')
exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${kept[@]}" "GLIOMAGRADING_TEST_DATA=$data" \
  chroot "$root" bash -c 'cd ~/GliomaGrading && bash examples/demo.sh && bash test/run.sh &&
    python3 test/check_warnings.py build . --itk ~/itk &&
    echo "gcc $(gcc -dumpversion), ITK $(dpkg-query -W -f "\${Version}" libinsighttoolkit5-dev)"' </dev/null
TEXT
}

passed() { [ "$(cat "$work/done/$1" 2>/dev/null)" = "$content" ]; }

run_stages()
{
  local stage start status minutes what outcome=0
  for stage in "${chosen[@]}"; do
    if passed "$stage"; then
      echo "$stage: passed before"
      continue
    fi
    say "$stage (log: $work/logs/$stage.log)"
    start=$(date +%s)
    rm -f "$work/done/$stage"
    # Not in an 'if': there bash would go on after a failed command of the stage.
    set +e
    (set -eo pipefail && "stage_$stage") >"$work/logs/$stage.log" 2>&1
    status=$?
    set -e
    minutes=$((($(date +%s) - start + 59) / 60))
    if [ $status -eq 0 ]; then
      echo "$content" >"$work/done/$stage"
      echo "$minutes minutes" >"$work/done/$stage.minutes"
    fi
    tail -n 3 "$work/logs/$stage.log"
  done

  say "Summary of commit $commit"
  for stage in "${chosen[@]}"; do
    if passed "$stage"; then
      printf '%-12s passed, %s\n' "$stage" "$(cat "$work/done/$stage.minutes")"
    else
      outcome=1
      # The first thing that went wrong; Doxygen complains of an alias of ITK's own.
      what=$(grep -E 'error:|CMake Error|FAILED|\*\*\*Failed|^E: ' "$work/logs/$stage.log" | grep -v 'Illegal ALIASES' || true)
      what=${what%%$'\n'*}
      [ -n "$what" ] || what=$(tail -n 1 "$work/logs/$stage.log")
      printf '%-12s FAILED: %s\n' "$stage" "$what"
    fi
  done
  exit $outcome
}

# It exits: nothing behind it is read, for the file may change while it runs for hours.
run_stages
