#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The module in Python as ITK's own modules are: lazily loaded, functional, with arrays, keywords, enums and stubs.

Exit code 77: all that could be tested passed, and what is missing is printed.
"""
import inspect
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import itk
import numpy as np

import obliqueHead

temporary = tempfile.TemporaryDirectory()
models = pathlib.Path(temporary.name)
missing = []

# Nothing of the module is loaded before its first use, as everywhere in itk.
lazy = (
    "import sys, itk\n"
    "def loaded(): return [m for m in sys.modules if 'GliomaGradingPython' in m]\n"
    "assert not loaded(), loaded()\n"
    "itk.TorchModel\n"
    "assert loaded(), 'nothing was loaded'\n"
)
subprocess.run([sys.executable, "-c", lazy], check=True)

F, UC, VF = itk.Image[itk.F, 3], itk.Image[itk.UC, 3], itk.VectorImage[itk.F, 3]
templates = {
    "BoundingBoxROIFilter": [(VF, UC), (F, UC)],
    "BrainMaskFilter": [(VF, UC), (F, UC)],
    "ExplanationFaithfulnessCalculator": [F, VF],
    "ExplanationQualityFilter": [(F, UC), (VF, UC)],
    "FromModelSpaceFilter": [(VF, VF), (F, F)],
    "GliomaGradingFilter": [(F, UC)],
    "GradCAMImageFilter": [(VF, F)],
    "GradeClassifierFilter": [VF],
    "GuidedBackpropagationImageFilter": [(VF, VF)],
    "MaskedIntensityStatisticsFilter": [(VF, UC), (F, UC)],
    "MaskedStandardizeFilter": [(VF, UC, VF), (F, UC, F)],
    "ModelSpaceFilter": [(VF, VF), (F, F)],
    "N4BiasCorrectionChainFilter": [(F, UC, F)],
    "RigidRegistrationFilter": [(F, UC)],
    "RigidResampleImageFilter": [(F, F)],
    "SequenceOrderCalculator": [(F, UC)],
    "SequencePreparationFilter": [(F, UC)],
    "TorchSegmentationFilter": [(VF, UC, UC)],
    "TumourReplacementFilter": [(VF, UC), (F, UC)],
    "UprightGridCalculator": [UC],
}
for name, keys in templates.items():
    for key in keys:
        made = getattr(itk, name)[key].New()
        assert made.GetNameOfClass() == name, (name, made.GetNameOfClass())
        assert name in str(made), f"{name} does not print itself"
for name in ("CohortReader", "ExplanationSanityCalculator", "TorchModel", "TorchModelTrainer"):
    assert getattr(itk, name).New().GetNameOfClass() == name

# Every enumeration of the headers, with each of its values.
include = pathlib.Path(__file__).resolve().parents[2] / "include"
enumerations = 0
for header in include.glob("itk*.h"):
    text = header.read_text()
    for owner, body in re.findall(r"^class (\w+Enums)\n\{(.*?)^\};", text, re.DOTALL | re.MULTILINE):
        for name, values in re.findall(r"enum class (\w+) : uint8_t\s*\{(.*?)\}", body, re.DOTALL):
            enumerations += 1
            names = re.findall(r"^\s*(\w+)(?: = \d+)?,?\s*(?://.*)?$", values, re.MULTILINE)
            # SWIG puts an underscore before a word of Python's.
            words = [f"{name}_{'_' if value == 'None' else ''}{value}" for value in names]
            members = [getattr(getattr(itk, owner), word) for word in words]
            assert len(members) > 1 and len({int(member) for member in members}) == len(members), (owner, name, members)
assert enumerations > 15, enumerations

# Keywords, images.
images, brain, tumour = obliqueHead.images()
arrays, brain_array, tumour_array = obliqueHead.arrays()
inside = brain_array > 0
mode = itk.MaskedStandardizeFilterEnums
standardized = itk.masked_standardize_filter(images[0], mask_image=brain)
assert list(standardized.GetOrigin()) == list(images[0].GetOrigin())
assert np.array_equal(np.asarray(standardized.GetDirection()), np.asarray(images[0].GetDirection()))
values = itk.array_view_from_image(standardized)
assert abs(values[inside].mean()) < 1e-5 and abs(values[inside].std() - 1.0) < 1e-5 and not values[~inside].any()
whole = itk.masked_standardize_filter(images[0], mode=mode.Mode_WholeImage)
assert abs(itk.array_view_from_image(whole).std() - 1.0) < 1e-5

# Decorated outputs.
standardizer = itk.MaskedStandardizeFilter.New(images[0], mask_image=brain)
standardizer.Update()
assert standardizer.GetCount().GetElement(0) == inside.sum()
assert abs(standardizer.GetMean().GetElement(0) - arrays[0][inside].mean(dtype=np.float64)) < 1e-4

# Arrays go in and come out; xarray too.
as_array = itk.masked_standardize_filter(arrays[0], mask_image=brain_array)
assert isinstance(as_array, np.ndarray)
np.testing.assert_array_equal(as_array, values)
try:
    import xarray
except ImportError:
    missing.append("xarray")
else:
    labelled = itk.xarray_from_image(images[0])
    result = itk.masked_standardize_filter(labelled, mask_image=brain)
    assert isinstance(result, xarray.DataArray)
    np.testing.assert_array_equal(result.values, values)
    assert result.dims == labelled.dims == ("z", "y", "x")
    for dimension in result.dims:
        np.testing.assert_array_equal(result.coords[dimension], labelled.coords[dimension])
    np.testing.assert_array_equal(result.attrs["direction"], labelled.attrs["direction"])

# Overloaded and listed parameters.
iterations = itk.Array[itk.UI](2)
iterations.Fill(30)
corrected, log_field = itk.n4_bias_correction_chain_filter(
    images[0], mask_image=brain, shrink_factor=2, number_of_fitting_levels=2, maximum_number_of_iterations=iterations
)
before, after = arrays[0][inside], itk.array_view_from_image(corrected)[inside]
assert itk.size(log_field) == itk.size(images[0])
assert after.std() / after.mean() < before.std() / before.mean(), "N4 left the field in the image"

# The sequences as one image, and what the networks make of it.
vector = itk.compose_image_filter(*images, ttype=(F, VF))
assert vector.GetNumberOfComponentsPerPixel() == 4
found = itk.brain_mask_filter(vector)
np.testing.assert_array_equal(itk.array_view_from_image(found) > 0, inside)
obliqueHead.write_models(models)
model = itk.TorchModel.New(path=str(models / "grading"))
model.Load()
assert model.IsLoaded() and model.VerifyGoldenPair()
assert "res3" in tuple(model.GetLayerNames())
prepared = itk.masked_standardize_filter(vector, mask_image=brain)
region = itk.bounding_box_roi_filter(prepared, mask_image=tumour, output_size=72)
assert tuple(itk.size(region)) == (72, 72, 72)
classifier = itk.GradeClassifierFilter.New(region, model=model)
classifier.Update()
assert classifier.GetGradeName() in ("LGG", "HGG")
name, probabilities = itk.grade_classifier_filter(region, model=model)
assert name == classifier.GetGradeName()
assert list(probabilities) == [classifier.GetProbabilities().GetElement(i) for i in range(2)]
assert abs(sum(probabilities) - 1.0) < 1e-6
segmenter = itk.TorchModel.New(path=str(models / "segmentation"))
segmenter.Load()
labels, of_classes = itk.torch_segmentation_filter(prepared, model=segmenter, generate_probabilities=True)
assert of_classes.GetNumberOfComponentsPerPixel() == len(segmenter.GetManifest().GetClassNames())
alone = itk.torch_segmentation_filter(prepared, model=segmenter)
np.testing.assert_array_equal(itk.array_view_from_image(alone), itk.array_view_from_image(labels))

# What a model expects can be read and said.
manifest = itk.TorchModelManifest()
manifest.SetSpacing([1.0, 1.0, 2.5])
manifest.SetChannelNames(["T1", "T1c"])
assert tuple(manifest.GetSpacing()) == (1.0, 1.0, 2.5) and tuple(manifest.GetChannelNames()) == ("T1", "T1c")
assert tuple(model.GetManifest().GetClassNames()) == ("LGG", "HGG")
weights = models / "grading" / model.GetManifest().GetWeightsFile()
assert model.GetManifest().GetWeightsBytes() == weights.stat().st_size
layer = itk.TorchLayerGeometry()
layer.SetLayer("res3")
layer.SetStep([4.0, 4.0, 2.0])
manifest.SetLayers([layer])
assert [(one.GetLayer(), tuple(one.GetStep())) for one in manifest.GetLayers()] == [("res3", (4.0, 4.0, 2.0))]
# All that the file of a shipped bundle says of its layers, its cases and its golden pair.
bundle = pathlib.Path(__file__).resolve().parents[2] / "examples" / "glioma" / "models" / "grading"
shipped = itk.TorchModel.New(path=str(bundle))
shipped.ReadManifest()
said = json.loads((bundle / "configs" / "metadata.json").read_text())["gliomagrading"]
read = shipped.GetManifest()
layers = [{"layer": one.GetLayer(), "offset": list(one.GetOffset()), "step": list(one.GetStep())} for one in read.GetLayers()]
assert layers == said["layers"]
for cases, part in ((read.GetTrainingCases(), "cases"), (read.GetValidationCases(), "validation")):
    expected = [(one["case"], one["licence"], one["attribution"]) for one in said["training"].get(part, [])]
    assert [(one.GetCase(), one.GetLicence(), one.GetAttribution()) for one in cases] == expected
assert len(read.GetTrainingCases()) == 12
assert read.GetGoldenSeed() == said["golden"]["seed"] and list(read.GetGoldenSize()) == said["golden"]["size"]
assert list(read.GetGoldenOutput()) == said["golden"]["output"]

# So can thresholds, cases, and what was done to the images.
thresholds = itk.ReviewThresholds()
assert thresholds.GetProbabilityGap() == 0.1 and len(thresholds.GetSmallestAsymmetry()) == 4
assert thresholds.GetTumourEffect() == 0.03 and thresholds.GetLargestFilledShare() == 0.3
thresholds.SetProbabilityGap(1.1)
thresholds.SetTumourEffect(1.1)
thresholds.SetLargestFilledShare(1.0)
try:
    thresholds.SetSmallestAsymmetry([0.2, 0.2])
except RuntimeError as error:
    assert "2 elements instead of 4" in str(error), error
else:
    raise AssertionError("four sequences took two thresholds")
grading = itk.GliomaGradingFilter.New(*images, tumour_mask_image=tumour, grading_model=model, review_thresholds=thresholds)
assert grading.GetReviewThresholds().GetProbabilityGap() == 1.1
grading.Update()
# Probabilities are always closer than 1.1.
for words in ("undecided", "does not come from the tumour"):
    assert any(words in reason for reason in grading.GetReviewReasons()), grading.GetReviewReasons()
report = grading.GetRegionReport()
assert report.GetOutputSize() == 72 and len(report.GetSides()) == 3
indices = np.argwhere(tumour_array)[:, ::-1]
box = report.GetBox()
assert list(box.GetSize()) == list(indices.max(axis=0) - indices.min(axis=0) + 1)
assert list(box.GetIndex()) == list(indices.min(axis=0) + np.array(list(tumour.GetLargestPossibleRegion().GetIndex())))
reports = grading.GetSequenceReports()
assert [report.GetName() for report in reports] == ["T1", "T1c", "T2", "FLAIR"]
assert abs(reports[1].GetMean() - arrays[1][inside].mean(dtype=np.float64)) < 1e-3 * reports[1].GetMean()

table = models / "COHORT.csv"
(models / "a.nii").write_text("no image")
table.write_text("case,t1,t1c,t2,flair,grade\nP1,a.nii,b.nii,c.nii,d.nii,LGG\nP2,a.nii,b.nii,c.nii,d.nii,GBM\n")
cohort = itk.CohortReader.New(path=str(table))
cohort.Read()
cases = cohort.GetCases()
assert cases[0].GetName() == "P1" and cases[0].GetGrade() == "LGG"
assert cases[0].GetSequences()[3] == str(models / "d.nii")
assert any("GBM" in problem for problem in cohort.GetProblems()), cohort.GetProblems()
assert cases[0].GetCohort() == 0
assert any("a.nii" in problem for problem in itk.CohortReader.FindImageProblems(cases[0]))

# How a grid lies on another: a voxel of the model's grid is where the image has it, and there and back is nowhere else.
spacing = itk.ModelSpaceFilter.New(images[0], output_orientation="RPS", output_spacing=[4.0, 3.0, 5.0])
spacing.Update()
mapping = spacing.GetMapping()
assert not mapping.IsIdentity() and mapping.GetScale()[0] < 0.0 and tuple(mapping.GetAxis()) == (0, 1, 2)


def place(image, index):
    direction = itk.array_from_matrix(image.GetDirection())
    return np.asarray(image.GetOrigin()) + direction @ (np.asarray(image.GetSpacing()) * np.asarray(list(index)))


for index in ([0.0, 0.0, 0.0], [7.0, 5.0, 3.0]):
    assert np.allclose(place(spacing.GetOutput(), index), place(images[0], mapping.Map(index)))
assert np.allclose(mapping.Inverse().After(mapping).GetOffset(), 0.0) and np.allclose(mapping.Inverse().After(mapping).GetScale(), 1.0)
back = itk.FromModelSpaceFilter.New(spacing.GetOutput(), reference_image=images[0], model_mapping=mapping)
back.Update()
assert list(itk.size(back)) == list(itk.size(images[0]))

# What ITK 5's reader of NIfTI replaces by 0 without a word.
damaged = arrays[0].copy()
damaged[3, 5, 7] = np.nan
itk.imwrite(itk.image_from_array(damaged), str(models / "damaged.nii"))
check = itk.ImageFileCheck
((place, value),) = check.FindNonFiniteVoxels(str(models / "damaged.nii"))
assert place == np.ravel_multi_index((3, 5, 7), damaged.shape) and np.isnan(value)
assert tuple(check.FilesOf(str(models / "damaged.nii"))) == (str(models / "damaged.nii"),)
assert check.FindMaskProblem(itk.image_from_array(brain_array.astype(np.float32))) == ""
assert check.FindMaskProblem(itk.image_from_array(brain_array - np.float32(2.0))) != ""
(models / "cut.nii").write_bytes((models / "damaged.nii").read_bytes()[:-100])
try:
    check.FindNonFiniteVoxels(str(models / "cut.nii"))
except RuntimeError as error:
    assert "cut off" in str(error), error
else:
    raise AssertionError("voxels that are cut off were not missed")

# Errors of the filters are Python's.
try:
    itk.torch_segmentation_filter(vector, model=model)
except RuntimeError as error:
    assert "segmentation" in str(error) or "classifier" in str(error), error
else:
    raise AssertionError("a grader was taken for a segmenter")

# Help and stubs.
assert "mask_image" in str(inspect.signature(itk.masked_standardize_filter))
if "unit variance" not in str(itk.MaskedStandardizeFilter[VF, UC, VF].__doc__):
    missing.append("docstrings (ITK_WRAP_DOC)")
else:
    for name, keys in templates.items():
        for key in keys:
            assert len(str(getattr(itk, name)[key].__doc__)) > 500, f"{name} has not the docstring of its header"
    assert "second input" in " ".join(itk.MaskedStandardizeFilter[VF, UC, VF].SetInput2.__doc__.split())
    assert "unit variance" in itk.masked_standardize_filter.__doc__
folder = pathlib.Path(itk.__file__).parent
listed = (folder / "__init__.pyi").read_text()
others = ("AxisAlignedMapping", "CohortCase", "CohortReader", "GradedRegionReport", "ImageFileCheck", "ReviewThresholds")
others += ("SequencePreparationReport", "TorchLayerGeometry", "TorchModel", "TorchModelManifest", "TorchModelTrainer", "ValidationScore")
for name in (*templates, *others):
    assert f"from .{name}Template import" in listed, f"{name} is not in __init__.pyi"
    for part in ("Proxy", "Template"):
        stub = (folder / f"{name}{part}.pyi").read_text()
        assert re.search(rf"class _?{name}", stub), f"the stub {name}{part}.pyi says nothing of {name}"
for name, method in (("MaskedStandardizeFilter", "SetMaskImage"), ("TorchModel", "Load"), ("GradCAMImageFilter", "SetLayerNames")):
    assert f"def {method}(" in (folder / f"{name}Proxy.pyi").read_text(), (name, method)

if missing:
    print("Not tested, missing here:", ", ".join(missing))
    sys.exit(77)
