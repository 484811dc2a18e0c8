#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing on a Debian 12 or 13 machine (as root or with sudo), builds the application and grades one case.
#
#   bash examples/demo.sh [CASE_FOLDER]
#
# CASE_FOLDER holds the four skull-stripped sequences of one patient, named as BRATS names them: *_t1, *_t1ce, *_t2, *_flair
# or *-t1n, *-t1c, *-t2w, *-t2f, as .nii or .nii.gz. Without it a phantom is made and graded.
# The results go to glioma-demo/ in the current folder and replace those of an earlier run.
set -euo pipefail

case ${1-} in
  -h | --help) sed -n '5,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
esac
[ $# -le 1 ] || { echo "error: usage: bash examples/demo.sh [CASE_FOLDER]" >&2 && exit 2; }
case_folder=${1-}

. "$(dirname "${BASH_SOURCE[0]}")/../CMake/setup-debian.sh"

# find_sequence SUFFIX...: the one file of the case's folder with one of these endings.
find_sequence()
{
  local suffix ending found=()
  for suffix in "$@"; do
    for ending in .nii.gz .nii; do
      for file in "$case_folder"/*"$suffix$ending"; do
        [ -f "$file" ] && found+=("$file")
      done
    done
  done
  [ ${#found[@]} -gt 0 ] || fail "$case_folder has no file that ends in one of: ${*/%/.nii[.gz]}. Rename the sequences as BRATS names them, or call glioma grade with --t1, --t1c, --t2 and --flair."
  [ ${#found[@]} -eq 1 ] || fail "$case_folder has more than one file for a sequence: ${found[*]}. Give a folder that holds one case."
  printf '%s\n' "${found[0]}"
}

if [ -n "$case_folder" ]; then
  [ -d "$case_folder" ] || fail "$case_folder is not a folder."
  t1=$(find_sequence _t1 -t1n)
  t1c=$(find_sequence _t1ce -t1c)
  t2=$(find_sequence _t2 -t2w)
  flair=$(find_sequence _flair -t2f)
fi

build_glioma
output=$PWD/glioma-demo

show_and_run()
{
  printf '%q ' "$@"
  printf '\n'
  "$@" || fail "glioma stopped, see the line above."
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ -z "$case_folder" ]; then
  say "No case given: a phantom is made (an artificial head, not a patient)"
  show_and_run "$glioma" synthesize --cases 1 --seed 14 --output "$scratch/phantom"
  mapfile -t sequences < <("$venv/bin/python" - "$scratch/phantom/COHORT.csv" <<'PYTHON'
import csv, os, sys
with open(sys.argv[1], newline="") as file:
    case = next(csv.DictReader(file))
for sequence in ("t1", "t1c", "t2", "flair"):
    print(os.path.join(os.path.dirname(sys.argv[1]), case[sequence]))
PYTHON
  )
  [ ${#sequences[@]} -eq 4 ] || fail "glioma synthesize wrote no usable COHORT.csv."
  t1=${sequences[0]} t1c=${sequences[1]} t2=${sequences[2]} flair=${sequences[3]}
fi

say "Grade"
show_and_run "$glioma" grade --t1 "$t1" --t1c "$t1c" --t2 "$t2" --flair "$flair" --output "$output" --force

say "Result (research use only)"
"$venv/bin/python" - "$output/result.json" <<'PYTHON' || fail "$output/result.json cannot be read."
import json, sys
with open(sys.argv[1]) as file:
    result = json.load(file)
grade = result["grade"]
if grade is None:
    print("Grade: none, no tumour was found")
else:
    print("Grade: %s (probability %.2f)" % (grade, result["probabilities"][grade]))
PYTHON
ls -1 "$output"
echo "Files:   $output"
echo "Picture: $output/overview.png"
echo "Page:    $output/report.html (open it in a browser)"
