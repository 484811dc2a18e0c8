# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Grades a case and its copy on a grid that is turned by 20 degrees about an oblique axis: the answers must agree.

usage: test_turned_grid.py GLIOMA MODELS_FOLDER phantom|patient

MODELS_FOLDER holds the bundles segmentation/ and grading/. The patient is one of GLIOMAGRADING_TEST_DATA (default: shared/data
beside the checkout). The copy has voxels of 0.9 x 1.1 x 1.3 mm, from cubic splines inside the brain and 0 outside it. Skipped
(77) where the models or the patient are not there.
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import SimpleITK as sitk
except ImportError as error:
    print(f"SKIPPED: {error}; pip install -r test/requirements.txt")
    sys.exit(77)

SUFFIXES = {"t1": "_t1", "t1c": "_t1ce", "t2": "_t2", "flair": "_flair"}
AXIS, DEGREES, SPACING = (2 / 7, 3 / 7, 6 / 7), 20.0, (0.9, 1.1, 1.3)


def turned_grid(image):
    """An empty image that covers all of the image's box."""
    turn = sitk.VersorTransform(AXIS, np.deg2rad(DEGREES))
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ np.array(image.GetDirection()).reshape(3, 3)
    corners = [[i, j, k] for i in (0, image.GetWidth() - 1) for j in (0, image.GetHeight() - 1) for k in (0, image.GetDepth() - 1)]
    along = np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners]) @ direction
    low, high = along.min(axis=0), along.max(axis=0)
    size = np.ceil((high - low) / SPACING).astype(int) + 2
    grid = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    grid.SetSpacing(SPACING)
    grid.SetDirection(direction.ravel())
    grid.SetOrigin(direction @ ((low + high) / 2 - (size - 1) / 2 * SPACING))
    return grid


def to_grid(image, grid, interpolator):
    return sitk.Resample(image, grid, sitk.Transform(), interpolator, 0.0)


def turned_copy(case, folder):
    """Files of the four sequences on the turned grid."""
    images = {name: sitk.ReadImage(path, sitk.sitkFloat32) for name, path in case.items()}
    brain = sum((sitk.Cast(image != 0, sitk.sitkFloat32) for image in images.values()), next(iter(images.values())) * 0) > 0
    grid = turned_grid(brain)
    inside = to_grid(sitk.Cast(brain, sitk.sitkFloat32), grid, sitk.sitkLinear) >= 0.5
    copy = {}
    for name, image in images.items():
        # A spline's ripples at the brain's edge stay positive, as intensities are.
        image = sitk.Mask(sitk.Maximum(to_grid(image, grid, sitk.sitkBSpline), 1.0), inside)
        copy[name] = os.path.join(folder, f"turned_{name}.nii.gz")
        sitk.WriteImage(image, copy[name])
    return copy, sitk.GetArrayFromImage(brain) != 0


def grade(glioma, models, case, output):
    command = [glioma, "grade", "--output", output, "--explain", "gradcam"]
    for task in ("segmentation", "grading"):
        command += [f"--{task}-model", os.path.join(models, task)]
    for name, path in case.items():
        command += [f"--{name}", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with open(os.path.join(output, "result.json"), encoding="utf-8") as file:
        return json.load(file)


def compare(glioma, models, what, patient, seed):
    """How far the answers for a patient, or for the phantom of a seed, agree; None where they cannot be compared."""
    with tempfile.TemporaryDirectory() as folder:
        if what == "phantom":
            # From a seed on whose maps are not silent, as res4 of 14 is: there would be nothing to compare.
            subprocess.run(
                [glioma, "synthesize", "--cases", "1", "--seed", str(seed), "--output", folder], check=True, stdout=subprocess.DEVNULL
            )
            patient = next(entry.path for entry in os.scandir(folder) if entry.is_dir())
        stem = os.path.join(patient, os.path.basename(patient))
        case = {name: f"{stem}{suffix}.nii.gz" for name, suffix in SUFFIXES.items()}
        copy, brain = turned_copy(case, folder)
        outputs = [os.path.join(folder, name) for name in ("given", "turned")]
        given, turned = grade(glioma, models, case, outputs[0]), grade(glioma, models, copy, outputs[1])
        first = sitk.ReadImage(case["t1"])

        def read(name, interpolator=sitk.sitkLinear):
            images = [sitk.ReadImage(os.path.join(output, f"{name}.nii.gz")) for output in outputs]
            return [sitk.GetArrayFromImage(image) for image in (images[0], to_grid(images[1], first, interpolator))]

        masks = [mask != 0 for mask in read("tumour", sitk.sitkNearestNeighbor)]
        if not masks[0].any() or turned["grade"] is None:
            print("FAILED: no tumour was found")
            return None
        if given["turned_upright"] or not turned["turned_upright"]:
            print(f"FAILED: straightened: {given['turned_upright']} and {turned['turned_upright']}")
            return None
        for name, sequence in turned["provenance"]["sequences"].items():
            if not sequence["n4_seconds"] > 0.0 or sequence["n4_log_field"][0] == sequence["n4_log_field"][1]:
                print(f"FAILED: the report of {name} lacks what N4 did")
                return None
        figures = {
            "P(HGG) differs by": abs(given["probabilities"]["HGG"] - turned["probabilities"]["HGG"]),
            "Dice of the masks": 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum()),
        }
        for layer in ("res3", "res4"):
            maps = [map[brain] for map in read(f"gradcam-{layer}")]
            figures[f"GradCAM {layer} correlates by"] = np.corrcoef(*maps)[0, 1]
        return figures


def main():
    glioma, models, what = sys.argv[1:4]
    for task in ("segmentation", "grading"):
        if not os.path.exists(os.path.join(models, task, "configs", "metadata.json")):
            print(f"SKIPPED: there is no {task} bundle in {models} yet")
            return 77
    data = os.environ.get("GLIOMAGRADING_TEST_DATA") or os.path.join(os.path.dirname(__file__), "..", "..", "..", "shared", "data")
    patient = os.path.join(data, "BraTS2021_00003")
    if what == "patient" and not os.path.isdir(patient):
        print(f"SKIPPED: {patient} is absent; GLIOMAGRADING_TEST_DATA names the folder of the real patients")
        return 77
    # A single phantom's maps hang on voxels at the mask's edge: the middle one of three says what the grids do.
    figures = [compare(glioma, models, what, patient, seed) for seed in ((15, 16, 17) if what == "phantom" else (None,))]
    if None in figures:
        return 1
    # A phantom's noise is white, so that interpolation takes more of it away than of a patient's.
    least = 0.95 if what == "patient" else 0.90
    wrong = False
    for name in figures[0]:
        values = [each[name] for each in figures]
        shown = ", ".join(f"{value:.4f}" for value in values)
        if name.startswith("GradCAM"):
            fits, limits = np.median(values) >= least, f"the middle one at least {least}"
        elif name.startswith("Dice"):
            fits, limits = min(values) >= 0.95, "at least 0.95"
        else:
            fits, limits = max(values) <= 0.10, "at most 0.1"
        wrong = wrong or not fits
        print(f"{name} {shown} ({limits}){'' if fits else ': FAILED'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
