#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Rebuilds the demonstration bundles, and scores the same recipe on patients that it has not seen.
#
#   rebuild.sh WORK_FOLDER [STAGE ...]
#
# Stages, in this order by default; each goes on where it was cut off and is skipped once it is done:
#   phantoms                  the training phantoms
#   segmentation-phantoms     segmentation on phantoms alone, the start of all that follow
#   grading-phantoms          grading on phantoms alone
#   segmentation-folds        three folds of the twelve patients, each scored on the four that it left out
#   segmentation-sites        without TCGA-CS, and without UCSF, each scored on that site
#   grading-folds             the three folds, graded with the fold's own segmentation
#   final                     both bundles on phantoms and all twelve patients
#   phantoms-held-out         both bundles, scored on 40 phantoms of another seed
#   cards                     the model cards, docs/README.md of each bundle, with the scores of all stages
# Only where it is asked for:
#   brain-grading             a grader of the whole brain on phantoms, a fold each, and on everything
#
# Needs the twelve patients: GLIOMAGRADING_TEST_DATA (default: shared/data beside the checkout), which holds cohort.csv, and a built
# `glioma` (GLIOMA, default build/bin/glioma). Several hours on two cores. THREADS sets the threads.
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n '5,24p' "$0" | sed 's/^# \{0,1\}//'
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source_folder=$(cd "$here/../../.." && pwd)
work=$1
shift
glioma=${GLIOMA:-$source_folder/build/bin/glioma}
data=${GLIOMAGRADING_TEST_DATA:-$source_folder/../shared/data}
python=${PYTHON:-python3}
patients=$data/cohort.csv
phantoms=$work/phantoms/COHORT.csv
threads=${THREADS:-$(nproc)}
precision=float32
if grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  precision=bfloat16
fi
[ -x "$glioma" ] || { echo "rebuild.sh: '$glioma' is not there: build the project first, or set GLIOMA" >&2; exit 1; }
[ -f "$patients" ] || { echo "rebuild.sh: '$patients' is not there: set GLIOMAGRADING_TEST_DATA to the folder of the twelve patients" >&2; exit 1; }
mkdir -p "$work"

# Folds of the twelve patients: cases that are left out.
fold_1="BraTS2021_01480 BraTS2021_01483 BraTS2021_00000 BraTS2021_00014"
fold_2="BraTS2021_01484 TCGA-DU-7294 BraTS2021_00002 BraTS2021_00024"
fold_3="BraTS2021_01485 BraTS2021_00003 BraTS2021_00031 BraTS-GLI-00001-000"

sentence="trained on phantoms and twelve patients, not validated"
licence="CC BY 4.0"
intended="Demonstration and tests of the module; research only, never a patient's grade"

# train TASK BUNDLE OPTION...: skipped when the bundle is there, resumed when a checkpoint is.
train() {
  local task=$1 bundle=$2
  shift 2
  if [ -f "$bundle.done" ]; then
    return
  fi
  local resume=()
  [ -d "$bundle.checkpoint" ] && resume=(--resume)
  [ -f "$attribution" ] || write_attribution
  echo "== $task: $(basename "$bundle")"
  "$glioma" train "$task" --recipe demonstration --output "$bundle" --cache "$work/cache-$task" --precision "$precision" \
    --threads "$threads" --licence "$licence" --intended-use "$intended" "${resume[@]}" "$@" 2>&1 | tee -a "$bundle.log"
  touch "$bundle.done"
}

# Without N4: at its usual settings it takes most of a large lesion's contrast away (cohort.csv, FLAIR: from 0.9-2.6 to 0.3-1.9
# deviations of the brain, SimpleITK's N4 too), and the masks with it.
segmentation=(--width 8 --bias-correction none --name "whole-tumour segmentation, demonstration")
grading=(--width 8 --name "tumour grading, demonstration")
# Every training case is named with its licence: the phantoms, and the patients of attribution.csv.
attribution=$work/attribution.csv
write_attribution() {
  cp "$here/attribution.csv" "$attribution.partial"
  "$python" -c "import csv, sys; [print(r['case'] + ',Apache-2.0,phantom of glioma synthesize --seed 2018: not a patient') for r in csv.DictReader(open(sys.argv[1], newline=''))]" \
    "$phantoms" >>"$attribution.partial"
  mv "$attribution.partial" "$attribution"
}
both=(--cohort "$phantoms" --cohort "$patients" --attribution "$attribution" --training-data "$sentence")

# predict COHORT NAME SEGMENTATION GRADING [CASE...]: `glioma grade` on cases (default: all) that neither has seen.
predict() {
  local cohort=$1 name=$2 segmentation_model=$3 grading_model=$4
  shift 4
  [ $# -gt 0 ] || mapfile -t all < <("$python" -c "import csv, sys; [print(r['case']) for r in csv.DictReader(open(sys.argv[1], newline=''))]" "$cohort")
  [ $# -gt 0 ] || set -- "${all[@]}"
  for case in "$@"; do
    local out=$work/predictions/$name/$case
    [ -f "$out/result.json" ] && continue
    mapfile -t files < <("$python" - "$cohort" "$case" <<'PY'
import csv, pathlib, sys
cohort = pathlib.Path(sys.argv[1])
row = next(r for r in csv.DictReader(open(cohort, newline="")) if r["case"] == sys.argv[2])
for key in ("t1", "t1c", "t2", "flair"):
    print(cohort.parent / row[key])
PY
    )
    mkdir -p "$(dirname "$out")"
    "$glioma" grade --t1 "${files[0]}" --t1c "${files[1]}" --t2 "${files[2]}" --flair "${files[3]}" --output "$out" --force \
      --segmentation-model "$segmentation_model" --grading-model "$grading_model" --threads "$threads" >"$out.log" 2>&1 ||
      { cat "$out.log" >&2; exit 1; }
  done
}

# score COHORT NAME [CASE...]
score() {
  local cohort=$1 name=$2
  shift 2
  local options=()
  [ $# -gt 0 ] && options=(--cases "$@")
  [ "$cohort" = "$patients" ] || options+=(--training "$phantoms")
  "$python" "$source_folder/test/benchmark/score_cohort.py" --cohort "$cohort" --predictions "$work/predictions/$name" "${options[@]}" \
    --csv "$work/predictions/$name.csv" | tee "$work/predictions/$name.txt"
}

stage_phantoms() {
  [ -f "$phantoms" ] || "$glioma" synthesize --cases 120 --seed 2018 --output "$work/phantoms" --threads "$threads"
}
stage_segmentation-phantoms() {
  train segmentation "$work/segmentation-phantoms" "${segmentation[@]}" --cohort "$phantoms" --steps 300 --attribution "$attribution" \
    --training-data "trained on phantoms alone, not validated"
}
# Predicted masks are smaller than drawn ones, so the box is moved more than the recipe does.
boxes=(--augment rotation-3d=20 zoom=0.25 mirror=0.5 quarter-turns=0.5 shift=0.2 box-jitter=0.3 gain=0.2 intensity-curve=0.4 offset=0.4
  thick-slices=0.3 sharpness=0.43 noise=0.3 lost-sequence=0.25 bias-field=0.2)
stage_grading-phantoms() {
  train grading "$work/grading-phantoms" "${grading[@]}" --cohort "$phantoms" --steps 600 --attribution "$attribution" \
    --training-data "trained on phantoms alone, not validated"
}
fine_segmentation=(--initial "$work/segmentation-phantoms" --mix 0.2 --mix 0.8 --steps 700 --normalization-steps 250)
fine_grading=(--initial "$work/grading-phantoms" --mix 0.5 --mix 0.5 --steps 200 --normalization-steps 80 --rate 5e-4 "${boxes[@]}")
stage_segmentation-folds() {
  for fold in 1 2 3; do
    local left=fold_$fold
    train segmentation "$work/segmentation-fold-$fold" "${segmentation[@]}" "${both[@]}" "${fine_segmentation[@]}" --leave ${!left}
    predict "$patients" segmentation-folds "$work/segmentation-fold-$fold" "$work/grading-phantoms" ${!left}
  done
  score "$patients" segmentation-folds $fold_1 $fold_2 $fold_3
}
stage_segmentation-sites() {
  for site in TCGA-CS UCSF; do
    local left
    left=$("$python" -c "import csv, sys; print(*[r['case'] for r in csv.DictReader(open(sys.argv[1], newline='')) if r['site'] == sys.argv[2]])" "$patients" "$site")
    train segmentation "$work/segmentation-without-$site" "${segmentation[@]}" "${both[@]}" "${fine_segmentation[@]}" --leave $left
    predict "$patients" "segmentation-without-$site" "$work/segmentation-without-$site" "$work/grading-phantoms" $left
    score "$patients" "segmentation-without-$site" $left
  done
}
brain_grading=(--width 8 --region brain --name "whole-brain grading, demonstration")
fine_brain=(--initial "$work/brain-grading-phantoms" --mix 0.5 --mix 0.5 --steps 200 --normalization-steps 80 --rate 5e-4)
stage_brain-grading() {
  train grading "$work/brain-grading-phantoms" "${brain_grading[@]}" --cohort "$phantoms" --steps 600 --attribution "$attribution" \
    --training-data "trained on phantoms alone, not validated"
  for fold in 1 2 3; do
    local left=fold_$fold
    # Scored at the end of the training: no mask is needed.
    train grading "$work/brain-grading-fold-$fold" "${brain_grading[@]}" "${both[@]}" "${fine_brain[@]}" --validate ${!left}
  done
  train grading "$work/brain-grading" "${brain_grading[@]}" "${both[@]}" "${fine_brain[@]}"
}
stage_grading-folds() {
  for fold in 1 2 3; do
    local left=fold_$fold
    train grading "$work/grading-fold-$fold" "${grading[@]}" "${both[@]}" "${fine_grading[@]}" --leave ${!left}
    predict "$patients" grading-folds "$work/segmentation-fold-$fold" "$work/grading-fold-$fold" ${!left}
  done
  score "$patients" grading-folds $fold_1 $fold_2 $fold_3
}
stage_final() {
  train segmentation "$work/segmentation" "${segmentation[@]}" "${both[@]}" "${fine_segmentation[@]}"
  train grading "$work/grading" "${grading[@]}" "${both[@]}" "${fine_grading[@]}"
}

stage_phantoms-held-out() {
  local other=$work/phantoms-held-out
  [ -f "$other/COHORT.csv" ] || "$glioma" synthesize --cases 40 --seed 5020 --output "$other" --threads "$threads"
  predict "$other/COHORT.csv" phantoms-held-out "$work/segmentation" "$work/grading"
  score "$other/COHORT.csv" phantoms-held-out
}
stage_cards() {
  local scores=$work/predictions
  "$python" "$here/write_model_card.py" "$work/segmentation" \
    "Same recipe, three folds of the twelve patients, each case by the model that had not seen it (grades here are those of a grader trained on phantoms alone)=$scores/segmentation-folds.txt" \
    "Same recipe without the patients of TCGA-CS, scored on them=$scores/segmentation-without-TCGA-CS.txt" \
    "Same recipe without the patients of UCSF, scored on them=$scores/segmentation-without-UCSF.txt" \
    "This bundle, 40 phantoms of a seed that was not trained on=$scores/phantoms-held-out.txt"
  "$python" "$here/write_model_card.py" "$work/grading" \
    "Same recipe, three folds of the twelve patients with the masks of the same fold's segmentation=$scores/grading-folds.txt" \
    "This bundle, 40 phantoms of a seed that was not trained on, with predicted masks=$scores/phantoms-held-out.txt"
  echo "The bundles are $work/segmentation and $work/grading; copy them to $here to ship them."
}

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(phantoms segmentation-phantoms grading-phantoms segmentation-folds segmentation-sites grading-folds final phantoms-held-out cards)
for stage in "${stages[@]}"; do
  declare -F "stage_$stage" >/dev/null || { echo "rebuild.sh: there is no stage '$stage'" >&2; exit 2; }
  "stage_$stage"
done
