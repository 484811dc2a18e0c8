#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Scores predictions of `glioma grade` against a cohort's masks and grades, beside two baselines that need no network.

  score_cohort.py --cohort COHORT.csv --predictions DIR [--cases CASE ...] [--training COHORT.csv] [--csv TABLE.csv]

DIR/<case>/ holds tumour.nii.gz and result.json. Segmentation baseline: FLAIR and T2 both above 1.5 robust standard deviations
(median and MAD inside the brain), largest 26-connected component. Grading baselines: the share of the predicted tumour where
standardized T1c exceeds standardized T1 by 1.0; with --training (another cohort) two logistic regressions fitted on that cohort's
own masks, on the volume alone and on the volume and the first-order intensities of all sequences, scored on the predicted masks.
without_tumour is P(HGG) with healthy tissue of the other half in the tumour's place, a negative control for the scanner (necessary and not
enough for a grader that learnt from heads without their tumour to be undecided there); p_hgg_brain is the
second grader's, of the whole brain; gradcam and guided are the shares of the explanations' energy inside the
predicted tumour; the verdict is that of the first grader alone. A case without a grade counts as wrong in the accuracy, as in `glioma
evaluate`, and is in no AUC and Brier score. Intervals: Wilson (accuracy), Hanley and McNeil 1982 (AUC; where it is 0 or 1, and their error 0,
Wilson over the smaller class), percentiles of 2000 bootstraps of the cases (Brier score), 95 %.
"""
import argparse
import csv
import json
import math
import pathlib
import sys

import numpy as np
import SimpleITK as sitk

from measure_verdict import is_of_brain


def read(path):
    image = sitk.ReadImage(str(path))
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def array(path):
    return sitk.GetArrayFromImage(read(path)).astype(np.float32)


def dice(a, b):
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def largest_component(mask):
    components = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    ordered = sitk.GetArrayFromImage(sitk.RelabelComponent(components))
    return ordered == 1


def robust_z(x, brain):
    values = x[brain]
    median = np.median(values)
    return (x - median) / (1.4826 * np.median(np.abs(values - median)) + 1e-6)


def standardized(x, brain):
    return (x - x[brain].mean()) / x[brain].std()


def wilson(right, n, z=1.96):
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def auc(scores, positive):
    """Share of pairs in the right order, ties a half; None where a class is missing."""
    high = [s for s, p in zip(scores, positive) if p]
    low = [s for s, p in zip(scores, positive) if not p]
    if not high or not low:
        return None
    return sum((a > b) + 0.5 * (a == b) for a in high for b in low) / (len(high) * len(low))


def auc_interval(value, high, low):
    q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
    error = math.sqrt(max(0.0, value * (1 - value) + (high - 1) * (q1 - value**2) + (low - 1) * (q2 - value**2)) / (high * low))
    if error == 0.0:
        smaller = min(high, low)
        return wilson(value * smaller, smaller)
    return max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error)


def brier(p, positive):
    """The mean squared error of the probabilities, and its interval."""
    errors = (np.array(p) - np.array(positive, dtype=float)) ** 2
    draws = np.random.default_rng(1).integers(0, len(errors), (2000, len(errors)))
    return errors.mean(), *np.percentile(errors[draws].mean(axis=1), [2.5, 97.5])


def regressions(training, cohort, rows, predictions):
    """P(HGG) by volume, and by volume and intensities. The strength of the penalty is chosen inside the training cohort."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from test_phantom_regressions import features

    with open(training, newline="") as file:
        known = list(csv.DictReader(file))
    x = np.array([features(str(training.parent), row) for row in known])
    y = np.array([row["grade"] == "HGG" for row in known])
    asked = np.array(
        [features(str(cohort.parent), {**row, "seg": str((predictions / row["case"] / "tumour.nii.gz").resolve())}) for row in rows]
    )
    answers = {}
    for name, columns in (("volume", slice(0, 1)), ("intensities", slice(None))):
        fit = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=(0.03, 0.3, 3.0), cv=5, max_iter=1000)).fit(x[:, columns], y)
        answers[name] = fit.predict_proba(asked[:, columns])[:, 1]
    return answers


def tell_control(rows):
    """A grader of tumours is undecided where healthy tissue lies in the tumour's place; one that knows the scanners is as sure as before.
    One that was trained with heads without their tumour, target one half, is undecided there whatever it knows: then it is not enough."""
    known = [row for row in rows if row["without_tumour"] is not None]
    if not known:
        print("no case was graded without its tumour")
        return
    for name, key in (("with", "p_hgg"), ("without", "without_tumour")):
        p = [row[key] for row in known]
        value = auc(p, [row["grade"] == "HGG" for row in known])
        gap = sum(abs(2.0 * each - 1.0) for each in p) / len(p)
        print(
            f"{name} the tumour, {len(p)} cases: AUC {'undefined, one class only' if value is None else f'{value:.3f}'}, "
            f"distance of the two probabilities {gap:.3f} on average"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", required=True, type=pathlib.Path)
    parser.add_argument("--predictions", required=True, type=pathlib.Path)
    parser.add_argument("--cases", nargs="*")
    parser.add_argument("--training", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path)
    options = parser.parse_args()
    rows = []
    with open(options.cohort, newline="") as file:
        cohort = [row for row in csv.DictReader(file) if not options.cases or row["case"] in options.cases]
    for row in cohort:
        folder = options.cohort.parent
        prediction = options.predictions / row["case"]
        if not (prediction / "result.json").exists():
            raise SystemExit(f"{row['case']}: no result.json under {prediction.name}; run glioma grade on it first")
        result = json.loads((prediction / "result.json").read_text())
        truth = array(folder / row["seg"]) > 0
        mask = array(prediction / "tumour.nii.gz") > 0
        t1, t1c, t2, flair = (array(folder / row[k]) for k in ("t1", "t1c", "t2", "flair"))
        brain = (t1 != 0) | (t1c != 0) | (t2 != 0) | (flair != 0)
        bright = largest_component((robust_z(flair, brain) > 1.5) & (robust_z(t2, brain) > 1.5) & brain)
        enhancing = standardized(t1c, brain) - standardized(t1, brain) > 1.0
        quality = result.get("quality") or {}
        brain_grade = result.get("whole_brain") or {}
        own = [reason for reason in result["reasons"] if not is_of_brain(reason)]
        rows.append(
            {
                "case": row["case"],
                "site": row.get("site", ""),
                "grade": row["grade"],
                "dice": dice(mask, truth),
                "dice_threshold": dice(bright, truth),
                "p_hgg": (result.get("probabilities") or {}).get("HGG"),
                "without_tumour": ((result.get("without_tumour") or {}).get("probabilities") or {}).get("HGG"),
                "p_hgg_brain": (brain_grade.get("probabilities") or {}).get("HGG"),
                "enhancing_share": float(enhancing[mask].mean()) if mask.any() else None,
                "gradcam": quality.get("gradcam-res3-tumour-share"),
                "guided": quality.get("guided-backprop-tumour-share"),
                "verdict": "review" if own else "no-flags",
            }
        )
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    found = [(row, line) for row, line in zip(cohort, rows) if line["p_hgg"] is not None]
    if options.training and found:
        answers = regressions(options.training, options.cohort, [row for row, _ in found], options.predictions)
        for name, values in answers.items():
            for line in rows:
                line[f"p_hgg_{name}"] = None
            for (_, line), value in zip(found, values):
                line[f"p_hgg_{name}"] = float(value)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
            writer.writeheader()
            writer.writerows(rows)
    print(
        f"Dice: mean {np.mean([r['dice'] for r in rows]):.3f}, lowest {min(r['dice'] for r in rows):.3f}; "
        f"threshold baseline {np.mean([r['dice_threshold'] for r in rows]):.3f}"
    )
    graded = [r for r in rows if r["p_hgg"] is not None]
    print(f"{len(rows) - len(graded)} without a grade")
    review = sum(r["verdict"] == "review" for r in rows)
    wrong = [r for r in graded if (r["p_hgg"] > 0.5) != (r["grade"] == "HGG")]
    print(f"Sent to review: {review}/{len(rows)}, of the wrong grades {sum(r['verdict'] == 'review' for r in wrong)}/{len(wrong)}")
    scored = [name for name in rows[0] if name == "p_hgg" or name.startswith("p_hgg") and any(r[name] is not None for r in rows)]
    for name in [*scored, "enhancing_share"]:
        known = [r for r in rows if r[name] is not None]
        values, positive = [r[name] for r in known], [r["grade"] == "HGG" for r in known]
        missing = len(rows) - len(known)
        if name in scored:
            right = sum((v > 0.5) == p for v, p in zip(values, positive))
            low, high = wilson(right, len(rows))
            counted = f"{missing} without a grade counted as wrong, " if missing else ""
            both = ("no grade at all", "the same grade for all", "both grades occur")[len({v > 0.5 for v in values})]
            print(f"Accuracy of {name}: {right}/{len(rows)} (95 % {low:.2f} to {high:.2f}), {counted}{both}")
        left_out = f", without {missing} of {len(rows)} cases that have none" if missing else ""
        if name in scored and known:
            mean, low, high = brier(values, positive)
            print(f"Brier score of {name}: {mean:.3f} (95 % {low:.3f} to {high:.3f}){left_out}")
        value = auc(values, positive)
        if value is None:
            print(f"AUC of {name}: undefined, not both classes{left_out}")
        else:
            low, high = auc_interval(value, sum(positive), len(positive) - sum(positive))
            print(f"AUC of {name}: {value:.3f} (95 % {low:.2f} to {high:.2f}){left_out}")
    tell_control(graded)


if __name__ == "__main__":
    main()
