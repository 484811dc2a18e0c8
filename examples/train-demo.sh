#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing on a Debian 12 or 13 machine (as root or with sudo), builds the application and repeats a small version
# of the whole training on phantoms: a cohort with sets, a segmentation, a grader, and their evaluation. After the build it takes
# less than 15 minutes on two cores.
#
#   bash examples/train-demo.sh [OUTPUT]
#
# OUTPUT (default: glioma-train-demo in the current folder) gets the phantoms, both bundles with their logs and curves, and
# evaluation/evaluation.md. What is done is kept: run it again after an interruption. Research use only.
#
# GLIOMA names a program that is built already, CASES the number of phantoms (40), STEPS those of each training (120).
set -euo pipefail

case ${1-} in
  -h | --help) sed -n '5,15s/^# \{0,1\}//p' "$0" && exit 0 ;;
esac
[ $# -le 1 ] || { echo "error: usage: bash examples/train-demo.sh [OUTPUT]" >&2 && exit 2; }
output=${1-$PWD/glioma-train-demo}

cases=${CASES:-40} steps=${STEPS:-120}
if [ -z "${GLIOMA-}" ]; then
  . "$(dirname "${BASH_SOURCE[0]}")/../CMake/setup-debian.sh"
  build_glioma
  GLIOMA=$glioma
fi
[ -x "$GLIOMA" ] || { echo "error: '$GLIOMA' is not there" >&2 && exit 1; }
start=$SECONDS
mkdir -p "$output"

show_and_run()
{
  printf '%q ' "$@"
  printf '\n'
  "$@" || { echo "error: glioma stopped, see the line above; what is done is kept in $output" >&2 && exit 1; }
}

# Voxels of 2 mm: an eighth of the work.
phantoms=$output/phantoms/COHORT.csv
[ -f "$phantoms" ] || show_and_run "$GLIOMA" synthesize --cases "$cases" --seed 31 --spacing 2 --output "$output/phantoms"

# Three of five cases train, one validates and one tests, of each grade: a split as the paper's authors publish theirs.
split=$output/split.txt
awk -F, '
  NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "grade") column = i; next }
  { turn = ++count[$column] % 5; set = turn == 4 ? "Validation" : turn == 0 ? "Test" : "Training"; names[set, $column] = names[set, $column] "\"" $1 "\", " }
  END {
    split("Training Validation Test", sets, " ")
    for (i = 1; i <= 3; ++i) print "\"" sets[i] "\": {\"HGG\": [" names[sets[i], "HGG"] "], \"LGG\": [" names[sets[i], "LGG"] "]},"
  }' "$phantoms" >"$split"
cohort=$output/COHORT.csv
[ -f "$cohort" ] || show_and_run "$GLIOMA" cohort "$phantoms" --split "$split" --output "$cohort"

precision=float32
if grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  precision=bfloat16
fi
# train TASK OPTION...: skipped when it is done, resumed when a checkpoint is there.
train()
{
  local task=$1 resume=()
  shift
  [ ! -f "$output/$task.done" ] || return 0
  [ ! -f "$output/$task.checkpoint/state.safetensors" ] || resume=(--resume)
  show_and_run "$GLIOMA" train "$task" --recipe demonstration --cohort "$cohort" --output "$output/$task" --cache "$output/cache" \
    --spacing 2 --precision "$precision" --training-data "trained on phantoms, not validated" "${resume[@]}" "$@"
  touch "$output/$task.done"
}
train segmentation --steps "$steps" --validate-steps $(((steps + 1) / 2)) --bias-correction none
train grading --steps "$steps" --validate-steps $(((steps + 1) / 2))

[ -f "$output/evaluation/evaluation.json" ] ||
  show_and_run "$GLIOMA" evaluate --cohort "$cohort" --segmentation-model "$output/segmentation" --grading-model "$output/grading" \
    --temperature --explain --baselines --output "$output/evaluation"
echo
cat "$output/evaluation/evaluation.md"
echo
echo "All of it took $(((SECONDS - start) / 60)) minutes. Curves: $output/segmentation.png, $output/grading.png"
echo "Table:  $output/evaluation/evaluation.md (phantoms: a check of the machinery, nothing about patients; research use only)"
