#!/usr/bin/env bash
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
#
# Writes phantoms in exactly the layout of the BRATS 2017 training set, with its subjects' names: HGG/NAME/NAME_t1.nii.gz (_t1ce, _t2,
# _flair, _seg) and LGG/. The names are taken in turn from the sets and grades of the authors' brats2017_subjects_sets.py.
#
#   brats-phantoms.sh SPLIT_FILE CASES OUTPUT [SYNTHESIZE_OPTION ...]
#
# Six in ten cases train, two validate and two test. GLIOMA names the program (default: build/bin/glioma of this checkout).
set -euo pipefail

[ $# -ge 3 ] || { sed -n '5,11p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
split=$1 cases=$2 output=${3%/}
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
glioma=${GLIOMA:-$here/../../build/bin/glioma}
[[ $cases =~ ^[1-9][0-9]{0,3}$ ]] || { echo "brats-phantoms.sh: CASES is $cases: ask for 1 to 9999" >&2; exit 2; }
[ -x "$glioma" ] || { echo "brats-phantoms.sh: '$glioma' is not there: build the project first, or set GLIOMA" >&2; exit 1; }
phantoms=$output.phantoms
for folder in "$output" "$phantoms"; do
  [ ! -e "$folder" ] || { echo "brats-phantoms.sh: $folder is there already" >&2; exit 1; }
done

# Lines "set grade name" of the split, which is read as text.
subjects=$(tr "\"'" '\n' <"$split" | awk '/^(Training|Validation|Test)$/ { set = $0 } /^(HGG|LGG)$/ { grade = $0 } /^Brats/ { print set, grade, $0 }')
# The names first: synthesizing takes long. Half of the cases are of each grade; of an odd one out the grade is not known yet.
turn=(Training Training Training Validation Test)
declare -A names
for grade in HGG LGG; do
  declare -A taken=()
  for ((i = 0; i < (cases + 1) / 2; ++i)); do
    set=${turn[$((i % 5))]}
    taken[$set]=$((${taken[$set]:-0} + 1))
    name=$(awk -v set="$set" -v grade=$grade '$1 == set && $2 == grade { print $3 }' <<<"$subjects" | sed -n "${taken[$set]}p")
    [ -n "$name" ] || { echo "brats-phantoms.sh: $split has too few $grade in $set for $cases cases" >&2; exit 1; }
    names[$grade$i]=$name
  done
done

trap 'rm -rf "$phantoms"' EXIT
"$glioma" synthesize --cases "$cases" --seed 2017 --output "$phantoms" "$@"
for grade in HGG LGG; do
  mapfile -t folders < <(awk -F, -v grade=$grade 'NR > 1 && $7 == grade { print $1 }' "$phantoms/COHORT.csv")
  for i in "${!folders[@]}"; do
    name=${names[$grade$i]}
    mkdir -p "$phantoms/BRATS/$grade/$name"
    for suffix in t1 t1ce t2 flair seg; do
      mv "$phantoms/${folders[$i]}/${folders[$i]}_$suffix.nii.gz" "$phantoms/BRATS/$grade/$name/${name}_$suffix.nii.gz"
    done
  done
done
mv "$phantoms/BRATS" "$output"
echo "Wrote $cases phantoms to $output (synthetic, no patients)"
