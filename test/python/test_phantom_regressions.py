# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Neither the size of a phantom's tumour nor its intensities tell the grade: form and texture must.

    python test_phantom_regressions.py GLIOMA

GLIOMA is the application. Cross-validated logistic regressions on 120 phantoms of 3 mm and a fixed seed: at most 0.75 of
the grades from the volume, at most 0.85 from the volume and the first-order intensities of all sequences in the mask.
Ends with 77 (skipped) where a package is missing.
"""

import csv
import os
import subprocess
import sys
import tempfile

# The regressions are too small for threads.
os.environ["OMP_NUM_THREADS"] = "1"

try:
    import numpy as np
    import SimpleITK as sitk
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
except ImportError as missing:
    print(f"skipped: {missing}; pip install -r test/requirements.txt")
    sys.exit(77)

CASES, SEED = 120, 20170101
VOLUME_LIMIT, INTENSITY_LIMIT = 0.75, 0.85
SEQUENCES = ("t1", "t1c", "t2", "flair")


def features(folder, row):
    """Log volume, then mean, deviation and quantiles of each sequence in the mask, standardized in the brain."""
    seg = sitk.ReadImage(os.path.join(folder, row["seg"]))
    mask = sitk.GetArrayFromImage(seg) > 0
    values = [np.log(mask.sum() * np.prod(seg.GetSpacing()) / 1000.0)]
    for sequence in SEQUENCES:
        image = sitk.GetArrayFromImage(sitk.ReadImage(os.path.join(folder, row[sequence]))).astype(float)
        brain = image[image > 0]
        inside = (image[mask] - brain.mean()) / brain.std()
        values += [inside.mean(), inside.std(), *np.quantile(inside, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95))]
    return values


def accuracy(x, y):
    """The best over several strengths of regularisation, so that the limit is not kept by a poor fit."""
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    return max(
        cross_val_score(make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)), x, y, cv=folds).mean()
        for c in (0.03, 0.3, 3.0)
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.argv[1], "synthesize", "--cases", str(CASES), "--seed", str(SEED), "--spacing", "3"]
        subprocess.run([*command, "--output", folder, "--force"], check=True, stdout=subprocess.DEVNULL)
        with open(os.path.join(folder, "COHORT.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        x = np.array([features(folder, row) for row in rows])
    y = np.array([row["grade"] == "HGG" for row in rows])
    assert len(rows) == CASES and y.sum() == CASES // 2, "the grades are not balanced"

    volume, intensity = accuracy(x[:, :1], y), accuracy(x, y)
    print(f"{CASES} phantoms, seed {SEED}: accuracy of a logistic regression, five folds three times")
    print(f"  volume                               {volume:.3f} (at most {VOLUME_LIMIT})")
    print(f"  volume and first-order intensities   {intensity:.3f} (at most {INTENSITY_LIMIT})")
    alone = [accuracy(x[:, 1 + 9 * i : 10 + 9 * i], y) for i in range(len(SEQUENCES))]
    for sequence, value in zip(SEQUENCES, alone):
        print(f"  {sequence:5s} alone                          {value:.3f} (at most {INTENSITY_LIMIT})")
    return 0 if volume <= VOLUME_LIMIT and max(intensity, *alone) <= INTENSITY_LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
