#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The README's pipeline from images of itk: the bits of the program glioma and of the package gliomagrading.

GLIOMAGRADING_PROGRAM   the program glioma, built with the same ITK
GLIOMAGRADING_PACKAGES  folder that holds the package gliomagrading of that build
Exit code 77: one of them is not set.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

if not os.environ.get("GLIOMAGRADING_PROGRAM") or not os.environ.get("GLIOMAGRADING_PACKAGES"):
    print("Skipped: GLIOMAGRADING_PROGRAM and GLIOMAGRADING_PACKAGES are not set.")
    sys.exit(77)

import itk  # noqa: E402
import numpy as np  # noqa: E402

import obliqueHead  # noqa: E402

program = os.environ["GLIOMAGRADING_PROGRAM"]
NAMES = ("T1", "T1c", "T2", "FLAIR")

# In a process of its own: every step as the package does it.
PACKAGE = """
import sys
import numpy as np
import gliomagrading as gg
folder, tumour, *files = sys.argv[1:]
images = [gg.Image.read(file) for file in files]
labels = gg.Image.read(tumour, mask=True)
brain = gg.brain_mask(images)
out = {"brain": brain.array}
out["n4"] = gg.n4_bias_correction_chain(images[1], brain).array
prepared = gg.masked_standardize(images, brain)
out["prepared"] = prepared.array
labelled, details = gg.torch_segmentation(prepared, folder + "/segmentation", brain, generate_probabilities=True, details=True)
out["labels"], out["probabilities"] = labelled.array, details.probabilities.array
region = gg.bounding_box_roi(prepared, labels, output_size=72)
out["region"] = region.array
replaced, details = gg.replace_tumour(prepared, labels, brain, details=True)
out["replaced"], out["filled"] = replaced.array, np.array([details.filled_share])
grader = gg.Model(folder + "/grading")
graded = gg.grade_classifier(region, grader)
out["grade"] = np.array([graded.probabilities[name] for name in ("LGG", "HGG")])
for grade in (0, 1):
    maps = gg.grad_cam(region, grader, ("res3", "res4"), class_to_explain=grade, reference=images[0]).maps
    out[f"res3 {grade}"], out[f"res4 {grade}"] = maps["res3"].array, maps["res4"].array
out["guided"] = gg.guided_backpropagation(region, grader, class_to_explain=1, reference=images[0]).map.array
quality = gg.explanation_quality(maps["res3"], labels, brain)
out["quality"] = np.array([quality.tumour_share, quality.border_ratio, quality.gini])
np.savez(folder + "/package.npz", **out)
"""


def run(*command, **environment):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr[-3000:]}")


def equal(name, got, wanted):
    np.testing.assert_array_equal(np.asarray(got), wanted, err_msg=name)
    print(name, "has the same bits")


def listed(array):
    return [array.GetElement(i) for i in range(array.Size())]


with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    obliqueHead.write_models(folder)
    run(program, "synthesize", "--cases", "1", "--seed", "3", "--spacing", "3", "--output", str(folder / "cases"))
    case = next(entry for entry in (folder / "cases").iterdir() if entry.is_dir())
    files = [str(case / f"{case.name}_{suffix}.nii.gz") for suffix in ("t1", "t1ce", "t2", "flair")]
    tumour_file = str(case / f"{case.name}_seg.nii.gz")
    run(sys.executable, "-c", PACKAGE, temporary, tumour_file, *files, PYTHONPATH=os.environ["GLIOMAGRADING_PACKAGES"])
    options = [part for name, file in zip(NAMES, files) for part in (f"--{name.lower()}", file)]
    run(
        program,
        "grade",
        *options,
        "--tumour-mask",
        tumour_file,
        "--grading-model",
        str(folder / "grading"),
        "--output",
        str(folder / "results"),
    )
    wanted = dict(np.load(folder / "package.npz"))
    images = [itk.imread(file, itk.F) for file in files]
    tumour = itk.imread(tumour_file, itk.UC)
    F, VF = itk.Image[itk.F, 3], itk.VectorImage[itk.F, 3]
    vector = itk.compose_image_filter(*images, ttype=(F, VF))

    # Step by step, as the package.
    brain = itk.brain_mask_filter(vector)
    equal("brain mask", itk.array_view_from_image(brain), wanted["brain"])
    corrected, _ = itk.n4_bias_correction_chain_filter(images[1], mask_image=brain)
    equal("N4", itk.array_view_from_image(corrected), wanted["n4"])
    prepared = itk.masked_standardize_filter(vector, mask_image=brain)
    equal("standardized sequences", itk.array_view_from_image(prepared), wanted["prepared"])
    segmenter = itk.TorchModel.New(path=str(folder / "segmentation"))
    segmenter.Load()
    labels, probabilities = itk.torch_segmentation_filter(prepared, model=segmenter, mask_image=brain, generate_probabilities=True)
    equal("labels", itk.array_view_from_image(labels), wanted["labels"])
    equal("probabilities", itk.array_view_from_image(probabilities), wanted["probabilities"])
    region = itk.bounding_box_roi_filter(prepared, mask_image=tumour, output_size=72)
    equal("region", itk.array_view_from_image(region), wanted["region"])
    replacer = itk.TumourReplacementFilter.New(prepared, tumour, brain)
    replacer.Update()
    equal("sequences without the tumour", itk.array_view_from_image(replacer.GetOutput()), wanted["replaced"])
    equal("filled share", [replacer.GetFilledShare()], wanted["filled"])
    grader = itk.TorchModel.New(path=str(folder / "grading"))
    grader.Load()
    classifier = itk.GradeClassifierFilter.New(region, model=grader)
    classifier.Update()
    equal("probabilities of the grades", listed(classifier.GetProbabilities()), wanted["grade"])
    for grade in (0, 1):
        explanation = itk.GradCAMImageFilter.New(region, model=grader, class_to_explain=grade, reference_image=images[0])
        for layer in ("res3", "res4"):
            explanation.AddLayerName(layer)
        explanation.Update()
        for layer in ("res3", "res4"):
            equal(f"Grad-CAM {layer} of grade {grade}", itk.array_view_from_image(explanation.GetMap(layer)), wanted[f"{layer} {grade}"])
    # An untrained network's map of one grade can be 0 throughout: comparing such maps alone says nothing.
    for layer in ("res3", "res4"):
        assert max(wanted[f"{layer} {grade}"].max() for grade in (0, 1)) > 0.0, f"no map of {layer} shows anything"
    guided = itk.guided_backpropagation_image_filter(region, model=grader, class_to_explain=1, reference_image=images[0])
    equal("guided backpropagation", itk.array_view_from_image(guided), wanted["guided"])
    quality = itk.ExplanationQualityFilter.New(explanation.GetMap("res3"), tumour_mask=tumour, brain_mask=brain)
    quality.Update()
    equal("quality", [quality.GetTumourShare(), quality.GetBorderRatio(), quality.GetGini()], wanted["quality"])

    # In one filter, as the program: with a mask and a tiny grader, then with all the networks that are shipped, N4 included.
    def compare(results, of_brain, **options):
        grading = itk.GliomaGradingFilter.New(*images, coordinate_tolerance=1e-3, direction_tolerance=1e-3, **options)
        grading.Update()
        result = json.loads((results / "result.json").read_text())
        assert grading.GetGrade() == result["grade"]
        equal("probabilities of the program", list(grading.GetProbabilities()), [result["probabilities"][n] for n in ("LGG", "HGG")])
        without = result["without_tumour"]
        of_classes = [without["probabilities"][n] for n in ("LGG", "HGG")]
        equal("probabilities without the tumour of the program", list(grading.GetProbabilitiesWithoutTumour()), of_classes)
        assert grading.GetFilledShare() == without["filled_share"]

        def equal_file(name, image):
            equal(
                f"{name} of the program",
                itk.array_view_from_image(image),
                itk.array_from_image(itk.imread(str(results / f"{name}.nii.gz"))),
            )

        equal_file("tumour", grading.GetOutput())
        equal_file("guided-backprop", grading.GetGuidedBackpropagation())
        for layer in ("res3", "res4"):
            equal_file(f"gradcam-{layer}", grading.GetGradCAM(layer))
        if of_brain:
            equal_file("tumour-probability", grading.GetTumourProbability())
            assert [report.GetN4Status() for report in grading.GetSequenceReports()] != [""] * 4
            assert list(grading.GetBrainProbabilities()) == [result["whole_brain"]["probabilities"][n] for n in ("LGG", "HGG")]

    compare(folder / "results", False, tumour_mask_image=tumour, grading_model=grader)
    shipped = {}
    named = []
    for option, name in (("segmentation", "segmentation"), ("grading", "grading"), ("brain_grading", "brain-grading")):
        bundle = str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "glioma" / "models" / name)
        shipped[f"{option}_model"] = itk.TorchModel.New(path=bundle)
        shipped[f"{option}_model"].Load()
        named += [f"--{option.replace('_', '-')}-model", bundle]
    run(program, "grade", *options, *named, "--output", str(folder / "shipped"))
    compare(folder / "shipped", True, **shipped)
