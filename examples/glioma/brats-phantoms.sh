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
split=$1 cases=$2 output=$3
shift 3
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
glioma=${GLIOMA:-$here/../../build/bin/glioma}
[ -x "$glioma" ] || { echo "brats-phantoms.sh: '$glioma' is not there: build the project first, or set GLIOMA" >&2; exit 1; }
[ ! -e "$output" ] || { echo "brats-phantoms.sh: $output is there already" >&2; exit 1; }

"$glioma" synthesize --cases "$cases" --seed 2017 --output "$output.phantoms" "$@"
# Lines "set grade name" of the split, which is read as text.
names=$(tr "\"'" '\n' <"$split" | awk '/^(Training|Validation|Test)$/ { set = $0 } /^(HGG|LGG)$/ { grade = $0 } /^Brats/ { print set, grade, $0 }')
for grade in HGG LGG; do
  mapfile -t folders < <(awk -F, -v grade=$grade 'NR > 1 && $7 == grade { print $1 }' "$output.phantoms/COHORT.csv")
  turn=(Training Training Training Validation Test) taken_Training=0 taken_Validation=0 taken_Test=0
  for i in "${!folders[@]}"; do
    set=${turn[$((i % 5))]}
    taken=taken_$set
    declare "$taken=$((${!taken} + 1))"
    name=$(awk -v set="$set" -v grade=$grade '$1 == set && $2 == grade { print $3 }' <<<"$names" | sed -n "${!taken}p")
    [ -n "$name" ] || { echo "brats-phantoms.sh: $split has too few $grade in $set" >&2; exit 1; }
    mkdir -p "$output/$grade/$name"
    for suffix in t1 t1ce t2 flair seg; do
      mv "$output.phantoms/${folders[$i]}/${folders[$i]}_$suffix.nii.gz" "$output/$grade/$name/${name}_$suffix.nii.gz"
    done
  done
done
rm -r "$output.phantoms"
echo "Wrote $cases phantoms to $output (synthetic, no patients)"
