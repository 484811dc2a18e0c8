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
#   networks-phantoms         segmentation, grading and whole-brain grading on phantoms alone, the start of those that follow; and
#                             the grader on patients alone, of three seeds, and their mean: three folds of the twelve, and all of them, the
#                             bundle
#   networks                  segmentation and whole-brain grading on phantoms and patients: three folds of the twelve, without
#                             TCGA-CS and without UCSF (segmentation), and on all of them, the bundles
#   segmentation-sites        the segmentations without a site, scored on that site
#   folds                     the three folds: each segmentation and grader, scored on the four patients that it left out; the whole-brain
#                             grader is that of phantoms alone
#   phantoms-held-out         the bundles, scored on 40 phantoms of another seed
#   cards                     the model cards, docs/README.md of each bundle, with the scores of all stages
# And only where it is named, with the phantoms:
#   augmentations             what each augmentation of the segmentation brings: small networks that learn from phantoms alone, with all,
#                             without one and without any, of two seeds or three, scored on the twelve patients at 2 mm:
#                             augmentations.md
#
# Needs the twelve patients: GLIOMAGRADING_TEST_DATA (default: shared/data beside the checkout), which holds cohort.csv, a built
# `glioma` (GLIOMA, default build/bin/glioma), and a Python with torch and the packages of test/requirements.txt (PYTHON, default python3).
# THREADS (default: all cores) trainings, or gradings, of one thread run at once: two finish sooner than one of two threads, and one
# thread learns the same weights bit for bit when it is cut off and goes on. DEVICE=cuda trains on a GPU, in bfloat16. WORK_FOLDER takes
# 12 GB, and a training of the whole-brain grader 10 GB of memory. All of it takes two cores with AVX-512 BF16 three hours (reckoned from
# measured steps; EXPERIMENTS.md).
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n '5,/^set/{s/^# \{0,1\}//p}' "$0"
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
device=${DEVICE:-cpu}
precision=float32
threads_of_one=1
if [ "$device" != cpu ]; then
  precision=bfloat16
  threads_of_one=8
elif grep -q avx512_bf16 /proc/cpuinfo 2>/dev/null; then
  precision=bfloat16
fi
[ -x "$glioma" ] || { echo "rebuild.sh: '$glioma' is not there: build the project first, or set GLIOMA" >&2; exit 1; }
[ -f "$patients" ] || { echo "rebuild.sh: '$patients' is not there: set GLIOMAGRADING_TEST_DATA to the folder of the twelve patients" >&2; exit 1; }
# The last stages would miss them after hours.
"$python" -c 'import numpy, SimpleITK, sklearn, torch' ||
  { echo "rebuild.sh: '$python' lacks torch or a package of test/requirements.txt: set PYTHON to one that has them, as that of test/run.sh's virtual environment" >&2; exit 1; }
mkdir -p "$work"

# Folds of the twelve patients: cases that are left out.
fold_1="BraTS2021_01480 BraTS2021_01483 BraTS2021_00000 BraTS2021_00014"
fold_2="BraTS2021_01484 TCGA-DU-7294 BraTS2021_00002 BraTS2021_00024"
fold_3="BraTS2021_01485 BraTS2021_00003 BraTS2021_00031 BraTS-GLI-00001-000"

sentence="trained on phantoms and twelve patients, not validated"
alone="trained on phantoms alone, not validated"
patients_alone="trained on twelve patients, not validated"
licence="CC BY 4.0"
intended="Demonstration and tests of the module; research only, never a patient's grade"

# train TASK BUNDLE OPTION...: skipped when the bundle is there, resumed when a checkpoint is.
train() {
  local task=$1 bundle=$2 resume=()
  shift 2
  [ ! -f "$bundle.checkpoint/state.safetensors" ] || resume=(--resume)
  "$glioma" train "$task" --recipe demonstration --output "$bundle" --cache "$work/cache-$task" --precision "$precision" \
    --device "$device" --threads "$threads_of_one" --licence "$licence" --intended-use "$intended" --attribution "$attribution" \
    "${resume[@]}" "$@" >>"$bundle.log" 2>&1 ||
    { tail -n 5 "$bundle.log" >&2; return 1; }
  touch "$bundle.done"
}
wait_for_a_thread() {
  while [ "$(jobs -rp | wc -l)" -ge "$threads" ]; do
    wait -n || exit 1
  done
}
# start TRAIN'S ARGUMENTS...: beside others, as many as there are threads; finish waits for all.
start() {
  [ ! -f "$2.done" ] || return 0
  [ -f "$attribution" ] || write_attribution
  wait_for_a_thread
  echo "== $1: $(basename "$2"), log $2.log"
  train "$@" &
}
finish() {
  while [ -n "$(jobs -p)" ]; do
    wait -n || exit 1
  done
}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

# Without N4: at its usual settings it takes most of a large lesion's contrast away (cohort.csv, FLAIR: from 0.9-2.6 to 0.3-1.9
# deviations of the brain, SimpleITK's N4 too), and the masks with it. Padded, so that a patch of 128 mm has three poolings.
segmentation_network=(--padded true --levels 4 --bias-correction none --name "whole-tumour segmentation, demonstration")
segmentation_augmentations=(rotation-3d=20 zoom=0.25 mirror=0.5 shift=0.5 intensity-curve=0.7 gain=0.9 offset=0.4 lesion-contrast=0.8
  thick-slices=0.3 sharpness=0.43 noise=0.3 bias-field=0.2 lost-sequence=0.25 cyst=0.25 slice-offset=0.2 transplant=0.3 elastic=0.5)
segmentation=(--width 16 "${segmentation_network[@]}" --augment "${segmentation_augmentations[@]}")
# Predicted masks are smaller than drawn ones, so the box is moved more than the recipe does.
boxes=(--augment rotation-3d=20 zoom=0.25 mirror=0.5 quarter-turns=0.5 shift=0.2 box-jitter=0.3 gain=0.2 intensity-curve=0.4 offset=0.4
  thick-slices=0.3 sharpness=0.43 noise=0.3 lost-sequence=0.25 bias-field=0.2)
grading=(--width 8 "${boxes[@]}" --name "tumour grading, demonstration")
# Heads without their tumour have no grade, and tumours lie in heads of other scanners: the grade of these twelve goes with the site.
unbiased=(tumour-free=0.33 transplant=0.5)
brain_grading=(--width 8 --region brain --name "whole-brain grading, demonstration")
# What follows a training on phantoms alone.
fine_segmentation=(--patch 64 --initial "$work/segmentation-phantoms" --mix 0.45 --mix 0.55 --rate 2e-3 --normalization-steps 1100 --steps 2000)
# Then whole heads, as they are segmented in use.
whole_segmentation=(--patch 96 --batch 1 --mix 0.45 --mix 0.55 --rate 7e-4 --normalization-steps 1 --steps 1000)
fine_brain=(--initial "$work/brain-grading-phantoms" --mix 0.5 --mix 0.5 --steps 100 --normalization-steps 40 --rate 5e-4)
# Every training case is named with its licence: the phantoms, and the patients of attribution.csv.
attribution=$work/attribution.csv
write_attribution() {
  cp "$here/attribution.csv" "$attribution.partial"
  "$python" -c "import csv, sys; [print(r['case'] + ',Apache-2.0,phantom of glioma synthesize --seed ' + r['case'].partition('-')[2].partition('-')[0] + ': not a patient') for r in csv.DictReader(open(sys.argv[1], newline=''))]" \
    "$phantoms" >>"$attribution.partial"
  mv "$attribution.partial" "$attribution"
}
both=(--cohort "$phantoms" --cohort "$patients" --training-data "$sentence")

# is_graded RESULT BUNDLE...: not before there was a control, nor by weights that are older than those of a bundle.
is_graded() {
  local result=$1 bundle
  shift
  grep -qs '"without_tumour"' "$result" || return 1
  for bundle in "$@"; do
    [ "$result" -nt "$bundle/models/model.safetensors" ] || return 1
  done
}
# predict COHORT NAME SEGMENTATION GRADING BRAIN_GRADING [CASE...]: `glioma grade` on cases (default: all) that none has seen, beside each
# other; finish waits for all.
predict() {
  local cohort=$1 name=$2 bundles=("${@:3:3}") models=(--segmentation-model "$3" --grading-model "$4" --brain-grading-model "$5") out
  shift 5
  [ $# -gt 0 ] || mapfile -t all < <("$python" -c "import csv, sys; [print(r['case']) for r in csv.DictReader(open(sys.argv[1], newline=''))]" "$cohort")
  [ $# -gt 0 ] || set -- "${all[@]}"
  mkdir -p "$work/predictions/$name"
  for case in "$@"; do
    out=$work/predictions/$name/$case
    ! is_graded "$out/result.json" "${bundles[@]}" || continue
    wait_for_a_thread
    predict_case "$cohort" "$case" "$out" "${models[@]}" &
  done
}
# predict_case COHORT CASE OUTPUT MODEL...
predict_case() {
  local files
  mapfile -t files < <("$python" - "$1" "$2" <<'PY'
import csv, pathlib, sys
cohort = pathlib.Path(sys.argv[1])
row = next(r for r in csv.DictReader(open(cohort, newline="")) if r["case"] == sys.argv[2])
for key in ("t1", "t1c", "t2", "flair"):
    print(cohort.parent / row[key])
PY
  )
  "$glioma" grade --t1 "${files[0]}" --t1c "${files[1]}" --t2 "${files[2]}" --flair "${files[3]}" --output "$3" --force "${@:4}" \
    --threads 1 >"$3.log" 2>&1 || { cat "$3.log" >&2; exit 1; }
}

# score COHORT NAME [CASE...]
score() {
  local cohort=$1 name=$2
  shift 2
  local options=()
  [ $# -eq 0 ] || options=(--cases "$@")
  [ "$cohort" = "$patients" ] || options+=(--training "$phantoms")
  "$python" "$source_folder/test/benchmark/score_cohort.py" --cohort "$cohort" --predictions "$work/predictions/$name" "${options[@]}" \
    --csv "$work/predictions/$name.csv" | tee "$work/predictions/$name.txt"
}

# Nine phantoms of each of sixteen seeds, in one cohort.
stage_phantoms() {
  local seed folder
  [ ! -f "$phantoms" ] || return 0
  for seed in $(seq 3018 1000 18018); do
    folder=$work/phantoms/$seed
    [ ! -f "$folder/COHORT.csv" ] || continue
    wait_for_a_thread
    { rm -rf "$folder" "$folder.partial" &&
      "$glioma" synthesize --cases 9 --seed "$seed" --output "$folder.partial" --threads 1 && mv "$folder.partial" "$folder"; } &
  done
  finish
  "$python" - "$work/phantoms" <<'PY'
import csv, pathlib, sys
folder = pathlib.Path(sys.argv[1])
rows = []
for part in sorted(folder.glob("*/COHORT.csv"), key=lambda path: int(path.parent.name)):
    for row in csv.DictReader(open(part, newline="")):
        rows.append(row | {key: f"{part.parent.name}/{row[key]}" for key in ("t1", "t1c", "t2", "flair", "seg")})
with open(folder / "COHORT.partial", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
(folder / "COHORT.partial").rename(folder / "COHORT.csv")
PY
}
stage_networks-phantoms() {
  start segmentation "$work/segmentation-phantoms" "${segmentation[@]}" --patch 64 --cohort "$phantoms" --steps 2000 --training-data "$alone"
  start grading "$work/grading-phantoms" "${grading[@]}" --cohort "$phantoms" --steps 600 --training-data "$alone"
  start grading "$work/brain-grading-phantoms" "${brain_grading[@]}" --cohort "$phantoms" --steps 400 --training-data "$alone"
  # Graders of patients alone start from nothing: beside the long training above.
  for variant in "" -fold-1 -fold-2 -fold-3; do
    for seed in "${seeds[@]}"; do
      start grading "$work/seed-$seed-grading$variant" "${grading[@]}" --augment "${unbiased[@]}" --cohort "$patients" \
        --training-data "$patients_alone" --steps 300 --seed "$seed" $(left_out "$variant")
    done
  done
  finish
  for variant in "" -fold-1 -fold-2 -fold-3; do
    mean_of_seeds "grading$variant"
  done
}
# Graders of several seeds differ in their maps and in what they send to review, and no case here says which is best: their mean is taken.
seeds=(1 2 3)
mean_of_seeds() {
  local parts=("${seeds[@]/%/-$1}")
  parts=("${parts[@]/#/$work/seed-}")
  is_older "$work/$1" "${parts[@]}" || return 0
  rm -rf "${work:?}/$1"
  "$python" "$here/mean_of_graders.py" "$work/$1" "${parts[@]}"
}
# is_older BUNDLE PART...: or not there.
is_older() {
  local bundle=$1 part
  shift
  for part in "$@"; do
    [ "$bundle/models/model.safetensors" -nt "$part/models/model.safetensors" ] || return 0
  done
  return 1
}
# The segmentations on all cases, without each fold and without each site, and what left_out keeps from them.
variants=("" -fold-1 -fold-2 -fold-3 -without-TCGA-CS -without-UCSF)
left_out() {
  local fold=${1#-}
  fold=${fold//-/_}
  case $1 in
    -fold-*) echo --leave ${!fold} ;;
    -without-*) echo --leave-site "${1#-without-}" ;;
  esac
}
stage_networks() {
  for variant in "${variants[@]}"; do
    start segmentation "$work/segmentation-patches$variant" "${segmentation[@]}" "${both[@]}" "${fine_segmentation[@]}" $(left_out "$variant")
  done
  start grading "$work/brain-grading" "${brain_grading[@]}" "${both[@]}" "${fine_brain[@]}"
  finish
  for variant in "${variants[@]}"; do
    start segmentation "$work/segmentation$variant" "${segmentation[@]}" "${both[@]}" "${whole_segmentation[@]}" \
      --initial "$work/segmentation-patches$variant" $(left_out "$variant")
  done
  finish
}
stage_segmentation-sites() {
  for site in TCGA-CS UCSF; do
    local left
    left=$("$python" -c "import csv, sys; print(*[r['case'] for r in csv.DictReader(open(sys.argv[1], newline='')) if r['site'] == sys.argv[2]])" "$patients" "$site")
    predict "$patients" "segmentation-without-$site" "$work/segmentation-without-$site" "$work/grading-phantoms" \
      "$work/brain-grading-phantoms" $left
    finish
    score "$patients" "segmentation-without-$site" $left
  done
}
stage_folds() {
  for fold in 1 2 3; do
    local left=fold_$fold
    predict "$patients" folds "$work/segmentation-fold-$fold" "$work/grading-fold-$fold" "$work/brain-grading-phantoms" ${!left}
  done
  finish
  score "$patients" folds $fold_1 $fold_2 $fold_3
}
stage_phantoms-held-out() {
  local other=$work/phantoms-held-out
  [ -f "$other/COHORT.csv" ] || "$glioma" synthesize --cases 40 --seed 5020 --output "$other" --threads "$threads"
  predict "$other/COHORT.csv" phantoms-held-out "$work/segmentation" "$work/grading" "$work/brain-grading"
  finish
  score "$other/COHORT.csv" phantoms-held-out
}
stage_cards() {
  local scores=$work/predictions
  local phantom_scores="This bundle, 40 phantoms of a seed that was not trained on, with predicted masks=$scores/phantoms-held-out.txt"
  "$python" "$here/write_model_card.py" "$work/segmentation" \
    "Same recipe, three folds of the twelve patients, each case by the segmentation, and by the grader of patients alone, that had not seen it (p_hgg_brain: the whole-brain grader trained on phantoms alone)=$scores/folds.txt" \
    "Same recipe without the patients of TCGA-CS, scored on them (graders trained on phantoms alone)=$scores/segmentation-without-TCGA-CS.txt" \
    "Same recipe without the patients of UCSF, scored on them (graders trained on phantoms alone)=$scores/segmentation-without-UCSF.txt" "$phantom_scores"
  local fold_scores="Same recipe, three folds of the twelve patients with the masks of the same fold's segmentation (p_hgg_brain: the whole-brain grader trained on phantoms alone)=$scores/folds.txt"
  "$python" "$here/write_model_card.py" \
    --made-by "\`examples/glioma/models/rebuild.sh\`, which says every option: the mean of the logits of three trainings, with the seeds ${seeds[*]}" \
    "$work/grading" "$fold_scores" "$phantom_scores"
  "$python" "$here/write_model_card.py" "$work/brain-grading" \
    "The start of this bundle, trained on phantoms alone, on the twelve patients (p_hgg_brain; the other columns are of the folds' segmentations and graders). This bundle has learnt from all twelve: it was scored on no patient that it had not seen=$scores/folds.txt" \
    "$phantom_scores"
  echo "The bundles are $work/segmentation, $work/grading and $work/brain-grading; copy them to $here to ship them."
}

# The seeds say how much a difference means: with all of them there is one more, since each other training is compared with it.
stage_augmentations() {
  local folder=$work/augmentations variant seed chosen cases augmentation
  mkdir -p "$folder"
  mapfile -t cases < <("$python" -c "import csv, sys; [print(r['case']) for r in csv.DictReader(open(sys.argv[1], newline=''))]" "$patients")
  for seed in 1 2 3; do
    for variant in all none "${segmentation_augmentations[@]/#/without-}"; do
      [ "$seed" -lt 3 ] || [ "$variant" = all ] || continue
      chosen=("${segmentation_augmentations[@]}")
      case $variant in
        none) chosen=(none) ;;
        without-*)
          chosen=()
          for augmentation in "${segmentation_augmentations[@]}"; do
            [ "$augmentation" = "${variant#without-}" ] || chosen+=("$augmentation")
          done
          ;;
      esac
      start segmentation "$folder/${variant%=*}-$seed" --width 8 "${segmentation_network[@]}" --patch 64 --cohort "$phantoms" \
        --cohort "$patients" --validate "${cases[@]}" --steps 1500 --seed "$seed" --training-data "$alone" --augment "${chosen[@]}"
    done
  done
  finish
  "$python" "$here/list_validation_scores.py" "$folder"/*.log >"$folder.partial" && mv "$folder.partial" "$folder.md"
  cat "$folder.md"
}

stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=(phantoms networks-phantoms networks segmentation-sites folds phantoms-held-out cards)
for stage in "${stages[@]}"; do
  declare -F "stage_$stage" >/dev/null || { echo "rebuild.sh: there is no stage '$stage'" >&2; exit 2; }
  "stage_$stage"
done
