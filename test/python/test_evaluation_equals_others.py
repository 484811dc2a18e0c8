#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The numbers of `glioma evaluate` equal those of scikit-learn, SciPy and MONAI on random input. Ends with 77 where one is missing.

  test_evaluation_equals_others.py EVALUATION_PROGRAM
"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import scipy.optimize
    import scipy.stats
    import SimpleITK as sitk
    import sklearn.calibration
    import sklearn.linear_model
    import sklearn.metrics
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

program = sys.argv[1]


def run(*arguments):
    return json.loads(subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout)


def near(name, value, expected, tolerance=1e-9):
    assert abs(value - expected) <= tolerance, f"{name}: {value} is not {expected}"


def delong(scores, truth):
    """Covariance of the areas of several scores, by the definition: every pair."""
    high, low = scores[:, truth == 1], scores[:, truth == 0]
    kernel = (high[:, :, None] > low[:, None, :]) + 0.5 * (high[:, :, None] == low[:, None, :])
    v10, v01 = kernel.mean(2), kernel.mean(1)
    return kernel.mean((1, 2)), np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]


def calibration_error(scores, truth):
    """Expected calibration error over tenths: the distance of the sums of a bin is its weight times that of its means."""
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], scores)
    return np.abs(np.bincount(bins, scores) - np.bincount(bins, truth)).sum() / len(scores)


def check_grades(folder, generator, number):
    cases = int(generator.integers(12, 150))
    truth = np.zeros(cases, int)
    truth[: max(3, cases // 3)] = 1
    generator.shuffle(truth)
    logits = generator.normal(0, 2, (2, cases)) + (2 * truth - 1)
    probabilities = 1 / (1 + np.exp(-logits))
    if number % 2:
        probabilities = np.round(probabilities, 1).clip(0.05, 0.95)  # ties, and the edges of the bins
    np.savetxt(folder / "grades.txt", np.column_stack([truth, *probabilities]), fmt="%.17g")
    found = run("grades", folder / "grades.txt")
    first, second = probabilities
    called = (first > 0.5).astype(int)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(truth, called, labels=[0, 1], zero_division=np.nan)
    matrix = sklearn.metrics.confusion_matrix(truth, called, labels=[0, 1])
    for grade, name in enumerate(("lgg", "hgg")):
        near("recall", found[f"recall-{name}"], recall[grade])
        interval = scipy.stats.binomtest(int(matrix[grade, grade]), int(matrix[grade].sum())).proportion_ci(method="wilson")
        near("recall's interval", found[f"recall-{name}-low"], interval.low)
        near("recall's interval", found[f"recall-{name}-high"], interval.high)
        near("f1", found[f"f1-{name}"], f1[grade])
        if np.isnan(precision[grade]):
            assert found[f"precision-{name}"] is None
        else:
            near("precision", found[f"precision-{name}"], precision[grade])
            interval = scipy.stats.binomtest(int(matrix[grade, grade]), int(matrix[:, grade].sum())).proportion_ci(method="wilson")
            near("precision's interval", found[f"precision-{name}-low"], interval.low)
            near("precision's interval", found[f"precision-{name}-high"], interval.high)
        jaccard = scipy.stats.binomtest(
            int(matrix[grade, grade]), int(matrix[grade].sum() + matrix[:, grade].sum() - matrix[grade, grade])
        ).proportion_ci(method="wilson")
        near("f1's interval", found[f"f1-{name}-low"], 2 * jaccard.low / (1 + jaccard.low))
        near("f1's interval", found[f"f1-{name}-high"], 2 * jaccard.high / (1 + jaccard.high))
        assert [found[f"called-{other}-of-{name}"] for other in ("lgg", "hgg")] == matrix[grade].tolist()
    near("accuracy", found["accuracy"], sklearn.metrics.accuracy_score(truth, called))
    interval = scipy.stats.binomtest(int((truth == called).sum()), cases).proportion_ci(method="wilson")
    near("accuracy's interval", found["accuracy-low"], interval.low)
    near("accuracy's interval", found["accuracy-high"], interval.high)

    areas, covariance = delong(probabilities, truth)
    near("auc", found["auc"], sklearn.metrics.roc_auc_score(truth, first))
    z = scipy.stats.norm.ppf(0.975)
    near("auc's interval", found["auc-low"], max(0, areas[0] - z * np.sqrt(covariance[0, 0])))
    near("auc's interval", found["auc-high"], min(1, areas[0] + z * np.sqrt(covariance[0, 0])))
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    near("difference", found["difference"], areas[0] - areas[1])
    near("difference's interval", found["difference-low"], areas[0] - areas[1] - z * error)
    near("difference's p", found["difference-p"], 2 * scipy.stats.norm.sf(abs(areas[0] - areas[1]) / error))

    squared = (first - truth) ** 2
    near("brier", found["brier"], sklearn.metrics.brier_score_loss(truth, first))
    low, high = scipy.stats.bootstrap((squared,), np.mean, method="percentile", n_resamples=4000, rng=generator).confidence_interval
    # Two bootstraps agree to the noise of their own quantiles.
    near("brier's interval", found["brier-low"], low, 0.25 * (high - low))
    near("brier's interval", found["brier-high"], high, 0.25 * (high - low))
    share, mean = sklearn.calibration.calibration_curve(truth, first, n_bins=10)
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], first)
    weights = np.bincount(bins, minlength=10)
    near("calibration", found["calibration"], np.sum(weights[weights > 0] * np.abs(share - mean)) / cases)
    chosen = generator.integers(cases, size=(4000, cases))
    value = found["calibration"]
    samples = [calibration_error(first[sample], truth[sample]) for sample in chosen]
    low, high = np.quantile(samples, (0.025, 0.975))
    # Resampling adds to the error as sampling has: the basic bootstrap takes that off, but not all that is above the value.
    near("calibration's interval", found["calibration-low"], min(value, max(0, 2 * value - high)), 0.1 * (high - low))
    upper = max(2 * value - low, value + high - np.mean(samples))
    near("calibration's interval", found["calibration-high"], min(1, upper), 0.1 * (high - low))
    for name in ("accuracy", "auc", "brier", "calibration", "recall-lgg", "recall-hgg", "f1-lgg", "f1-hgg"):
        assert found[f"{name}-low"] <= found[name] <= found[f"{name}-high"], f"{name} is not in its interval"

    near("cross-entropy", found["cross-entropy"], sklearn.metrics.log_loss(truth, first))
    line = np.log(first / (1 - first))
    best = scipy.optimize.minimize_scalar(
        lambda b: np.logaddexp(0, np.where(truth == 1, -b * line, b * line)).sum(),
        bounds=(1e-3, 50),
        method="bounded",
        options={"xatol": 1e-10},
    )
    near("temperature", found["temperature"], 1 / best.x, 1e-5 / best.x)

    right = (first > 0.5) == truth, (second > 0.5) == truth
    b, c = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    assert (found["only-first-right"], found["only-second-right"]) == (b, c)
    assert found["both-graded"] == cases
    near("mcnemar", found["mcnemar"], scipy.stats.binomtest(b, b + c).pvalue if b + c else 1.0)


def check_calibration(folder):
    """Of probabilities that are true the interval of the calibration error has 0 in most samples, and always its own value."""
    generator = np.random.default_rng(7)
    samples, with_zero = 40, 0
    for _ in range(samples):
        probabilities = generator.beta(0.7, 0.7, 150)
        truth = generator.random(150) < probabilities
        np.savetxt(folder / "grades.txt", np.column_stack([truth, probabilities, probabilities]), fmt="%.17g")
        found = run("grades", folder / "grades.txt")
        low, value, high = (found[f"calibration{end}"] for end in ("-low", "", "-high"))
        assert 0 <= low <= value < high <= 1, (low, value, high)
        with_zero += low == 0
    assert with_zero > 0.3 * samples, f"0 is in {with_zero} of {samples} intervals"


def check_masks(folder, generator, number):
    shape = generator.integers(8, 26, 3)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    masks = []
    for _ in range(2):
        centre, radius = shape * generator.uniform(0.3, 0.7, 3), shape * generator.uniform(0.15, 0.6, 3)
        mask = (((grid - centre) / radius) ** 2).sum(-1) < 1  # may reach the image's border
        mask ^= generator.random(tuple(shape)) < 0.02
        masks.append(mask)
    spacing = generator.uniform(0.5, 4, 3)
    for name, mask in zip(("predicted", "true"), masks):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(tuple(map(float, spacing[::-1])))
        image.SetOrigin((-3.0, 20.0, 7.5))
        image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
        sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    found = run("masks", folder / "predicted.nrrd", folder / "true.nrrd")
    predicted, true = (torch.tensor(mask[None, None].astype(np.float32)) for mask in masks)
    near("dice", found["dice"], compute_dice(predicted, true).item(), 1e-6)
    expected = compute_hausdorff_distance(predicted, true, include_background=True, percentile=95, spacing=tuple(spacing)).item()
    near("hausdorff95", found["hausdorff95"], expected, 1e-4)  # MONAI's is float32
    near("volume", found["volume-error"], (masks[0].sum() - float(masks[1].sum())) * spacing.prod() / 1000)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for number in range(12):
        check_grades(folder, np.random.default_rng(100 + number), number)
    check_calibration(folder)
    for number in range(12):
        check_masks(folder, np.random.default_rng(200 + number), number)
print("Grades as scikit-learn and SciPy have them, masks as MONAI has them.")
