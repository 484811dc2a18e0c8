#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""ExplanationQualityFilter against Quantus, where it has the metric and is installed, and against NumPy for all of it.

python3 test_quality_equals_quantus.py EXPLANATION_QUALITY        Exit code 77: NumPy or SimpleITK is missing.
"""
import math
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import SimpleITK as sitk
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
try:
    import quantus
except ImportError as error:
    quantus = None
    print(f"without Quantus ({error}): compared with NumPy alone")

SPACING = (0.9, 1.0, 1.3)  # x, y, z


def run(program, folder, map_, *masks):
    paths = []
    for i, array in enumerate((map_, *masks)):
        image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
        image.SetSpacing(SPACING)
        paths.append(str(pathlib.Path(folder) / f"{i}.mha"))
        sitk.WriteImage(image, paths[-1])
    answer = subprocess.run([program, *paths], check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in answer.splitlines()[1:]}


def numpy_numbers(energy, tumour, support, brain):
    """The formulas of the class comment, voxel by voxel."""
    e, t = energy[support & brain], tumour[support & brain]
    order = np.argsort(-e, kind="stable")
    ascending = np.sort(e)
    n = len(e)
    points = np.argwhere(np.pad(brain, 1))
    solid = np.pad(brain, 1)
    outermost = np.zeros_like(solid)
    for step in np.ndindex(3, 3, 3):
        outermost |= solid & ~np.roll(solid, np.array(step) - 1, (0, 1, 2))
    scale = np.array(SPACING[::-1])
    surface = np.argwhere(outermost) * scale
    distance = np.full(solid.shape, np.inf)
    for p in points:
        distance[tuple(p)] = np.sqrt(((surface - p * scale) ** 2).sum(1).min())
    border = (distance < 3.0)[1:-1, 1:-1, 1:-1] & brain
    s = border[support & brain]
    return {
        "total-energy": e.sum(),
        "tumour-share": e[t].sum() / e.sum(),
        "tumour-chance": t.mean(),
        "tumour-ratio": e[t].sum() / e.sum() / t.mean(),
        "tumour-coverage": (tumour & support).sum() / tumour.sum(),
        "peak-in-tumour": float(t[e.argmax()]),
        "tumour-rank-accuracy": t[order[: t.sum()]].mean(),
        "border-share": e[s].sum() / e.sum(),
        "border-chance": s.mean(),
        "border-ratio": e[s].sum() / e.sum() / s.mean(),
        "outside-share": energy[support & ~brain].sum() / energy[support].sum(),
        "gini": ((2 * np.arange(1, n + 1) - n - 1) * ascending).sum() / (n * ascending.sum()),
    }


def quantus_numbers(energy, tumour):
    """Quantus knows neither supports nor brains: the whole image."""
    a, s = energy[None, None].astype(np.float64), tumour[None, None]
    options = {"abs": False, "normalise": False, "disable_warnings": True}
    call = {"a_batch": a, "s_batch": s, "x_batch": a}
    return {
        "tumour-rank-accuracy": quantus.RelevanceRankAccuracy(**options).evaluate_batch(**call)[0],
        "tumour-share": quantus.RelevanceMassAccuracy(**options).evaluate_batch(**call)[0],
        "peak-in-tumour": float(quantus.PointingGame(**options).evaluate_batch(**call)[0]),
        "gini": quantus.Sparseness(**options).evaluate_batch(x_batch=a, a_batch=a.copy())[0],
        "attribution localisation": quantus.AttributionLocalisation(**options).evaluate_batch(**call)[0],
    }


def compare(found, expected, tolerance, title):
    for name, value in expected.items():
        number = float(found["tumour-share" if name == "attribution localisation" else name])
        print(f"{title}: {name} {number:.7g}, expected {value:.7g}")
        assert math.isclose(number, value, rel_tol=tolerance, abs_tol=tolerance), (name, number, value)


def main():
    program = sys.argv[1]
    random = np.random.default_rng(5)
    z, y, x = np.meshgrid(np.arange(16), np.arange(20), np.arange(24), indexing="ij")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            tumour = ((x - 10 - number) ** 2 + (y - 9) ** 2 + (z - 8) ** 2 < 16).astype(np.uint8)
            brain = ((x - 12) ** 2 / 110 + (y - 10) ** 2 / 80 + (z - 8) ** 2 / 40 < 1).astype(np.uint8)
            support = (z > 3).astype(np.uint8)
            # Sums of float32 are exact in double; distinct values, so that ranks have no ties.
            map_ = (random.permutation(x.size).reshape(x.shape) / x.size * (1 + 3 * tumour)).astype(np.float32)
            everywhere = np.ones_like(tumour)
            found = run(program, folder, map_, tumour, support, brain)
            compare(found, numpy_numbers(map_.astype(np.float64), tumour > 0, support > 0, brain > 0), 1e-6, f"NumPy {number}")
            if quantus is not None:
                found = run(program, folder, map_, tumour, everywhere)
                compare(found, quantus_numbers(map_, tumour), 1e-5, f"Quantus {number}")
        vector = np.stack([map_, -2 * map_], axis=-1)
        shares = run(program, folder, vector, tumour)["sequence-shares"].strip("[]").split(",")
        assert np.allclose([float(s) for s in shares], [1 / 3, 2 / 3], atol=1e-6), shares


if __name__ == "__main__":
    main()
