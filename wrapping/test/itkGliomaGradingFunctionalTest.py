#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The filters as functions, and whatever they answer beside images: of Python's own types, or of itk's."""
import gc
import pathlib
import re
import tempfile

import itk
import numpy as np

import obliqueHead

include = pathlib.Path(__file__).resolve().parents[2] / "include"
temporary = tempfile.TemporaryDirectory()
models = pathlib.Path(temporary.name)
obliqueHead.write_models(models)
images, brain, tumour = obliqueHead.images()
arrays, brain_array, tumour_array = obliqueHead.arrays()
inside = brain_array > 0
F, VF = itk.Image[itk.F, 3], itk.VectorImage[itk.F, 3]


def view(image):
    return itk.array_view_from_image(image)


def loaded(task):
    model = itk.TorchModel.New(path=str(models / task))
    model.Load()
    return model


def expect_error(text, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except RuntimeError as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"{text}: nothing was raised")


# Whatever a header calls a decorated output has a value in Python.
def check_outputs(ran):
    text = "".join(
        (include / f"itk{name}.h").read_text()
        for name in (ran.GetNameOfClass(), "TorchExplanationImageFilter")
        if name == ran.GetNameOfClass() or "TorchExplanation" in str(type(ran).__mro__)
    )
    found = re.findall(r"itkGetDecoratedOutputMacro\((\w+), (?:typename )?([\w: ]+)\)", text)
    assert found, ran.GetNameOfClass()
    for name, kind in found:
        value = getattr(ran, f"Get{name}")()
        if kind == "double":
            assert isinstance(value, float), (name, value)
        elif kind == "unsigned long":
            assert isinstance(value, int), (name, value)
        elif kind == "std::string":
            assert isinstance(value, str), (name, value)
        else:
            assert all(isinstance(value.GetElement(i), float) for i in range(value.Size())), (name, value)


# The mask is the second argument, or a keyword.
vector = itk.compose_image_filter(*images, ttype=(F, VF))
found = itk.brain_mask_filter(vector)
np.testing.assert_array_equal(view(found) > 0, inside)
prepared = itk.masked_standardize_filter(vector, brain)
np.testing.assert_array_equal(view(prepared), view(itk.masked_standardize_filter(vector, mask_image=brain)))
assert abs(view(prepared)[inside].mean(axis=0)).max() < 1e-5 and not view(prepared)[~inside].any()
options = {"shrink_factor": 2, "number_of_fitting_levels": 1, "maximum_number_of_iterations": 10}
corrected, _ = itk.n4_bias_correction_chain_filter(images[0], brain, **options)
np.testing.assert_array_equal(view(corrected), view(itk.n4_bias_correction_chain_filter(images[0], mask_image=brain, **options)[0]))
for iterations in ([10], (10,), np.array([10])):
    again, _ = itk.n4_bias_correction_chain_filter(images[0], brain, **{**options, "maximum_number_of_iterations": iterations})
    np.testing.assert_array_equal(view(again), view(corrected))
for wrong in (None, "ten", [None]):
    try:
        itk.N4BiasCorrectionChainFilter.New(images[0]).SetMaximumNumberOfIterations(wrong)
    except ValueError as error:
        assert "sequence of int or float" in str(error), error
    else:
        raise AssertionError(f"{wrong} was taken for iterations")
weights = itk.cast_image_filter(brain, ttype=(itk.Image[itk.UC, 3], F))
weighted, _ = itk.n4_bias_correction_chain_filter(images[0], brain, weights, **options)
np.testing.assert_allclose(view(weighted), view(corrected), rtol=1e-6)  # equal weights weigh nothing
region = itk.bounding_box_roi_filter(prepared, tumour, output_size=72)
assert tuple(itk.size(region)) == (72, 72, 72)
np.testing.assert_array_equal(view(region), view(itk.bounding_box_roi_filter(prepared, mask_image=tumour, output_size=72)))
replaced = itk.tumour_replacement_filter(vector, tumour, brain)
np.testing.assert_array_equal(view(replaced), view(itk.tumour_replacement_filter(vector, tumour_mask_image=tumour, brain_mask_image=brain)))
np.testing.assert_array_equal(view(replaced)[~inside], view(vector)[~inside])
# The tumour made the second sequence brighter by 120.
assert view(replaced)[tumour_array > 0][:, 1].mean() < arrays[1][tumour_array > 0].mean() - 60.0
alone = itk.tumour_replacement_filter(images[0], tumour, brain)
np.testing.assert_array_equal(view(alone), view(replaced)[..., 0])  # the mirror is found in the first sequence
segmenter, grader = loaded("segmentation"), loaded("grading")
labels = itk.torch_segmentation_filter(prepared, brain, model=segmenter)
assert not view(labels)[~inside].any() and view(labels).any()

# Numbers without an image: the filter, updated.
statistics = itk.masked_intensity_statistics_filter(images[1], tumour)
assert abs(statistics.GetMean().GetElement(0) - arrays[1][tumour_array > 0].mean(dtype=np.float64)) < 1e-3
check_outputs(statistics)

# One map or several, by name.
maps = itk.grad_cam_image_filter(region, model=grader, layer_names=["res3", "res4"], class_to_explain=0)
explanation = itk.GradCAMImageFilter.New(region, model=grader, class_to_explain=0)
explanation.AddLayerName("res3")
explanation.AddLayerName("res4")
explanation.Update()
assert len(maps) == 2
for drawn, layer in zip(maps, explanation.GetLayerNames()):
    assert view(drawn).any(), layer
    np.testing.assert_array_equal(view(drawn), view(explanation.GetMap(layer)))
for one in ("res4", ["res4"], ("res4",)):
    alone = itk.grad_cam_image_filter(region, model=grader, layer_names=one, class_to_explain=0)
    np.testing.assert_array_equal(view(alone), view(maps[1]))
expect_error("AddLayerName", itk.grad_cam_image_filter, region, model=grader)
expect_error("res9", itk.grad_cam_image_filter, region, model=grader, layer_names="res9")
guided_filter = itk.GuidedBackpropagationImageFilter.New(region, model=grader, class_to_explain=0)
assert tuple(guided_filter.GetOtherActivations()) == ()
guided_filter.Update()
guided = itk.guided_backpropagation_image_filter(region, model=grader, class_to_explain=0)
assert view(guided).shape == (72, 72, 72, 4) and view(guided).any()
np.testing.assert_array_equal(view(guided), view(guided_filter.GetOutput()))
on_head = itk.grad_cam_image_filter(region, model=grader, layer_names="res3", class_to_explain=0, reference_image=images[0])
assert itk.size(on_head) == itk.size(images[0])
quality = itk.explanation_quality_filter(on_head, tumour_mask=tumour, brain_mask=brain)
energy = view(on_head).astype(np.float64) * inside
assert abs(quality.GetTumourShare() - energy[tumour_array > 0].sum() / energy.sum()) < 1e-6

# The whole in one function.
tumour_found, grade, probabilities = itk.glioma_grading_filter(*images, tumour_mask_image=tumour, grading_model=grader)
np.testing.assert_array_equal(view(tumour_found), tumour_array)
grading = itk.GliomaGradingFilter.New(*images, tumour_mask_image=tumour, grading_model=grader)
grading.Update()
assert (grade, probabilities) == (grading.GetGrade(), tuple(grading.GetProbabilities())) and grade in ("LGG", "HGG")
assert abs(sum(probabilities) - 1.0) < 1e-6
assert list(grading.GetBrainRegionSpacing()) == [0.0, 0.0, 0.0]  # no grader of the whole brain
assert 0.0 <= grading.GetFilledShare() <= 1.0
grading.GradeWithoutTumourOff()
grading.Update()
assert np.isnan(grading.GetFilledShare()) and list(grading.GetProbabilitiesWithoutTumour()) == []
assert tuple(grading.GetProbabilities()) == probabilities

# Numbers, names and lists beside the images.
classifier = itk.GradeClassifierFilter.New(region, model=grader)
corrector = itk.N4BiasCorrectionChainFilter.New(images[0], brain, **options)
cutter = itk.BoundingBoxROIFilter.New(prepared, tumour, output_size=72)
masker, standardizer = itk.BrainMaskFilter.New(vector), itk.MaskedStandardizeFilter.New(vector, brain)
replacer = itk.TumourReplacementFilter.New(vector, tumour, brain, reach=0.0)
replacer.Update()
assert replacer.GetReach() == 0.0 and 0.0 <= replacer.GetFilledShare() <= 1.0
expect_error("Reach is -1 mm", itk.tumour_replacement_filter, vector, tumour, brain, reach=-1.0)
for ran in (classifier, corrector, cutter, masker, standardizer, explanation, guided_filter, quality):
    ran.Update()
    check_outputs(ran)
volume = inside.sum() * 3.5 * 4.0 * 5.0 / 1000.0
assert abs(masker.GetVolume() - volume) < 1e-9 * volume
indices = np.argwhere(tumour_array)[:, ::-1]
assert [cutter.GetBox().GetElement(i) for i in range(3)] == list(indices.min(axis=0))
assert cutter.GetNumberOfVoxels() == tumour_array.sum() and cutter.GetNumberOfComponents() == 1
assert corrector.GetIterationsPerLevel().Size() == 1

order = itk.SequenceOrderCalculator[F, itk.Image[itk.UC, 3]].New()
for i, image in enumerate((images[0], images[1], images[2], images[2])):
    order.SetSequence(i, image)
order.SetMask(brain)
order.Compute()
assert tuple(order.GetNames()) == ("T1", "T1c", "T2", "FLAIR")
assert sorted(order.GetLooksLike()) == [0, 1, 2, 3]
assert (2, 3) in tuple(order.GetDuplicates()), tuple(order.GetDuplicates())

upright = itk.UprightGridCalculator[itk.Image[itk.UC, 3]].New(brain_mask=brain)
upright.Compute()
assert abs(upright.GetAngle() - 12.0) < 1e-6, upright.GetAngle()

# The same head twice: nothing moves. Turned from left to right and back, it is itself again.
still = itk.RigidRegistrationFilter.New(images[0], reference_image=images[0], reference_mask_image=brain)
still.Update()
assert still.GetMeanDisplacement() < 0.1, still.GetMeanDisplacement()
assert itk.size(itk.rigid_resample_image_filter(images[1], reference_image=brain)) == itk.size(brain)
turned = itk.model_space_filter(images[0], output_orientation="RAS")
back = itk.from_model_space_filter(turned, reference_image=images[0])
assert np.array_equal(np.asarray(turned.GetDirection())[:, 0], -np.asarray(images[0].GetDirection())[:, 0])
np.testing.assert_allclose(view(back), arrays[0], atol=1e-4)

faithfulness = itk.ExplanationFaithfulnessCalculator.New(
    model=grader, region_image=region, map_image=maps[0], block_size=24, number_of_steps=2, class_to_explain=0
)
faithfulness.Compute()
curve = faithfulness.GetDeletionCurve()
assert curve.Size() == 3
assert abs(curve.GetElement(0) - classifier.GetProbabilities().GetElement(0)) < 1e-5
sanity = itk.ExplanationSanityCalculator.New(model=grader, region_image=region)
sanity.AddLayerName("res3")
sanity.Compute()
assert tuple(sanity.GetMapNames()) == ("gradcam-res3", "guided-backprop") and len(sanity.GetRandomizedLayers()) > 3
assert len(sanity.GetRankCorrelations(0)) == len(sanity.GetRandomizedLayers())

score = itk.ValidationScore()
score.SetCase("P1")
score.SetValue(0.5)
assert (score.GetCase(), score.GetGrade(), score.GetValue()) == ("P1", "", 0.5)
trainer = itk.TorchModelTrainer.New()
assert tuple(trainer.GetScores()) == ()
expect_error("MaximumMinutes", trainer.Train)

# A view is the image's own memory, and keeps it.
seen = view(prepared)
assert np.shares_memory(seen, view(prepared))
expected = seen.copy()
del prepared
gc.collect()
np.testing.assert_array_equal(seen, expected)
