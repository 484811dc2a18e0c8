#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Table 1 of Pereira et al. 2018 on a cohort of your own: trains one segmentation and four graders (tumour's region or whole brain,
# standardized in the brain's mask or in the whole image), grades the test set with each, and writes one table with paired tests.
#
#   table-1.sh --cohort COHORT.csv|BRATS_FOLDER --output DIR [OPTION ...]
#
#   --split FILE              the sets, as brats2017_subjects_sets.py says them (default: the column set)
#   --width N                 channels of the first block (16; the authors' are not public)
#   --epochs N                epochs of each grader (100); batches of 4
#   --segmentation-epochs N   epochs of the segmentation (100); batches of 2
#   --segmentation-model B    a bundle to take in place of training one
#   --rows "LIST"             of tumour-brain tumour-image brain-brain brain-image: region, then statistics (default: all four)
#   --threads N, --device D, --precision P   as `glioma train` takes them
#   --train OPTION=VALUE      one more option of the graders' `glioma train`, as --train --rate=1e-3; repeat it for more
#
# Research use only. All four rows take the masks of one segmentation, standardized in the brain's mask: the paper does not say. What is
# done with the same weights is kept: run it again when it was cut off. GLIOMA names the program (default: build/bin/glioma of this checkout).
set -euo pipefail

usage() { sed -n '5,22p' "$0" | sed 's/^# \{0,1\}//'; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
glioma=${GLIOMA:-$here/../../build/bin/glioma}
cohort="" output="" split="" width=16 epochs=100 segmentation_epochs=100 segmentation="" rows="tumour-brain tumour-image brain-brain brain-image"
more=() segmentation_more=() run=() grader_more=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
  esac
  [ $# -ge 2 ] || { echo "table-1.sh: $1 wants a value" >&2; exit 2; }
  case $1 in
    --cohort) cohort=$2 ;;
    --output) output=$2 ;;
    --split) split=$2 ;;
    --width) width=$2 ;;
    --epochs) epochs=$2 ;;
    --segmentation-epochs) segmentation_epochs=$2 ;;
    --segmentation-model) segmentation=$2 ;;
    --rows) rows=$2 ;;
    --threads | --device) more+=("$1" "$2") run+=("$1" "$2") ;;
    --precision) more+=("$1" "$2") run+=("$1" "$2") ;;
    --train) grader_more+=("$2") ;;
    *) echo "table-1.sh: unknown option '$1'" >&2 && usage >&2 && exit 2 ;;
  esac
  shift 2
done
[ -n "$cohort" ] && [ -n "$output" ] || { usage >&2; exit 2; }
[ -x "$glioma" ] || { echo "table-1.sh: '$glioma' is not there: build the project first, or set GLIOMA" >&2; exit 1; }
mkdir -p "$output"

# Every problem of the cohort is told before anything is trained.
[ -n "$split" ] || [ -f "$cohort" ] ||
  { echo "table-1.sh: $cohort is no table: give --split too, or make a COHORT.csv with the column set" >&2; exit 1; }
table=$output/COHORT.csv
[ ! "$cohort" -ef "$table" ] || table=$output/COHORT-checked.csv # the user's own is not written over
sets=()
[ -z "$split" ] || sets=(--split "$split")
counts=$("$glioma" cohort "$cohort" "${sets[@]}" --output "$table" --force)
echo "$counts"
# number_of SET GRADE, by lines like "training HGG: 103"
number_of() {
  local number
  number=$(sed -n "s/^$1 $2: //p" <<<"$counts")
  echo "${number:-0}"
}
problems=()
for grade in LGG HGG; do
  [ "$(number_of training $grade)" -gt 0 ] || problems+=("no $grade is in the set training")
done
[ $(($(number_of test LGG) + $(number_of test HGG))) -gt 0 ] || problems+=("no case with a grade is in the set test")
for set in training validation test; do
  [ "$(number_of $set "")" -eq 0 ] || problems+=("without a grade in the set $set: $(number_of $set "")")
done
if [ ${#problems[@]} -gt 0 ]; then
  echo "table-1.sh: $cohort cannot give the table:" >&2
  printf '  %s\n' "${problems[@]}" >&2
  exit 1
fi
training=$(($(number_of training LGG) + $(number_of training HGG)))
steps() { echo $((($1 * training + $2 - 1) / $2)); }

# train TASK NAME OPTION...: skipped when it is done, resumed when a checkpoint is there.
train() {
  local task=$1 bundle=$output/$2 resume=()
  shift 2
  [ ! -f "$bundle.done" ] || return 0
  [ ! -f "$bundle.checkpoint/state.safetensors" ] || resume=(--resume)
  echo "== $task: $(basename "$bundle")"
  "$glioma" train "$task" --cohort "$table" --output "$bundle" --cache "$output/cache" --width "$width" "${more[@]}" "${resume[@]}" "$@"
  touch "$bundle.done"
}

if [ -z "$segmentation" ]; then
  segmentation=$output/segmentation
  train segmentation segmentation --steps "$(steps "$segmentation_epochs" 2)"
fi
masks="" predictions=()
for row in $rows; do
  region=${row%-*} statistics=${row#*-}
  options=(--standardize "$statistics" --steps "$(steps "$epochs" 4)" --name "grading, $region, statistics of the $statistics")
  [ "$region" = tumour ] || options+=(--region "$region")
  train grading "grading-$row" "${options[@]}" "${grader_more[@]}"
  echo "== the test set: $row"
  tumours=(--segmentation-model "$segmentation")
  [ -z "$masks" ] || tumours=(--tumour-masks "$masks")
  # Every time: it keeps the cases that these very weights graded.
  "$glioma" evaluate --cohort "$table" "${tumours[@]}" --grading-model "$output/grading-$row" --temperature --explain \
    --output "$output/$row" "${run[@]}" --force
  masks=${masks:-$output/$row/cases}
  predictions+=(--predictions "$output/$row")
done
"$glioma" evaluate --cohort "$table" "${predictions[@]}" --temperature --explain --output "$output/table" --force
echo "The table is $output/table/evaluation.md. Research use only."
