# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The filters beside SimpleITK, NumPy and the C++ program; parameters, progress, interrupts and exceptions."""

import dataclasses
import inspect
import json
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import gliomagrading as gg
from gliomagrading._library import core

from conftest import GRADING, SEGMENTATION, Bundles, Head, Phantom, grade_by_program, make_head

sitk = pytest.importorskip("SimpleITK")


def test_brain_mask_is_the_largest_component_without_holes(head: Head) -> None:
    mask, details = gg.brain_mask([head.as_sitk(a) for a in head.arrays], details=True)
    component = sitk.RelabelComponent(sitk.ConnectedComponent(head.as_sitk(head.arrays[0]) != 0, True)) == 1
    want = sitk.GetArrayFromImage(sitk.BinaryFillhole(component))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), want)
    assert details.volume == pytest.approx(want.sum() * np.prod(head.spacing) / 1000.0)
    assert details.dice > 0.99 and not details.sequences_disagree
    small = gg.brain_mask(head.as_sitk(head.arrays[0]), minimum_volume=details.volume + 1.0, details=True)[1]
    assert small.not_skull_stripped and not gg.brain_mask(head.arrays[0], minimum_volume=1.0, details=True)[1].not_skull_stripped


def test_n4_is_that_of_simpleitk(head: Head) -> None:
    image, mask = head.as_sitk(head.arrays[1]), head.as_sitk(head.brain)
    # The same iterations give the same field; a threshold may be found reached in another.
    for arguments, most in (((), 2e-3), ((0.002, [20, 10], 0.2, 0.02, 150, [5, 4, 4], 3, False), 2e-3), ((0.0, [20, 10]), 5e-5)):
        want = sitk.GetArrayFromImage(sitk.N4BiasFieldCorrection(image, mask, *arguments))
        got = sitk.GetArrayFromImage(gg.n4_bias_field_correction(image, mask, *arguments))
        ratio = got[head.brain > 0] / want[head.brain > 0]
        assert np.abs(np.log(ratio)).max() < most
    without = gg.n4_bias_field_correction(image + 50, maximumNumberOfIterations=[20, 20])
    want = sitk.GetArrayFromImage(sitk.N4BiasFieldCorrection(image + 50, 0.001, [20, 20]))
    assert np.abs(np.log(sitk.GetArrayFromImage(without) / want)).max() < 2e-3
    names = list(inspect.signature(gg.n4_bias_field_correction).parameters)
    said = sitk.N4BiasFieldCorrection.__doc__.split(" -> ")[0]
    assert re.findall(r"\w+ (\w+)(?=[=,)])", said) == names[:-1], "the arguments are SimpleITK's, in its order"


def test_n4_chain_gives_its_field(head: Head) -> None:
    image = head.as_sitk(head.arrays[2])
    corrected, details = gg.n4_bias_correction_chain(image, head.brain, shrink_factors=2, details=True)
    field = sitk.GetArrayFromImage(details.log_bias_field)
    inside = head.brain > 0
    want = head.arrays[2][inside] / np.exp(field[inside])
    np.testing.assert_allclose(sitk.GetArrayFromImage(corrected)[inside], want, rtol=1e-5)
    assert len(details.iterations_per_level) == 4 and details.status and details.fit_seconds > 0
    assert details.log_field_range[0] <= field[inside].max() and details.number_of_non_positive_voxels == 0
    kept, scaled = gg.n4_bias_correction_chain(image, head.brain, rescaling="mean", details=True)
    assert sitk.GetArrayFromImage(kept)[inside].mean() == pytest.approx(head.arrays[2][inside].mean(), rel=1e-4)
    assert scaled.scale != 1.0
    confidence = head.brain.astype(np.float32)
    weighed = gg.n4_bias_correction_chain(image, head.brain, confidence, shrink_factors=(2, 2, 1))
    assert weighed.GetSize() == image.GetSize()
    with pytest.raises(ValueError, match="one for all axes"):
        gg.n4_bias_correction_chain(image, shrink_factors=[2, 2])


def test_standardize_modes(head: Head) -> None:
    values = head.arrays[0].astype(np.float64)
    whole, details = gg.masked_standardize(head.arrays[0], mode="image", details=True)
    np.testing.assert_allclose(whole, (values - values.mean()) / values.std(), atol=2e-5)
    assert details.count == (values.size,) and details.background_value[0] == pytest.approx(-values.mean() / values.std(), rel=1e-5)
    clipped = gg.masked_standardize(head.arrays[0], head.brain, lower_quantile=0.05, upper_quantile=0.95, outside_value=-3.0)
    assert (clipped[head.brain == 0] == -3.0).all() and clipped.max() < gg.masked_standardize(head.arrays[0], head.brain).max()
    with pytest.raises(gg.InputError, match="MaskImage"):
        gg.masked_standardize(head.arrays[0])
    with pytest.raises(ValueError, match="give one of mask, image"):
        gg.masked_standardize(head.arrays[0], head.brain, mode="brain")  # type: ignore[call-overload]


def test_region_is_the_crop(head: Head) -> None:
    z, y, x = np.nonzero(head.tumour)
    region, details = gg.bounding_box_roi(head.as_own(head.arrays[0]), head.as_own(head.tumour), output_size=24, details=True)
    assert region.array.shape == (24, 24, 24) and details.found and not details.empty
    assert details.box_index == tuple(int(v.min()) for v in (x, y, z))
    assert details.box_size == tuple(int(np.ptp(v)) + 1 for v in (x, y, z))
    assert details.number_of_voxels == head.tumour.sum() and details.number_of_components == 1
    side = max((np.ptp(v) + 1 + 20) * s for v, s in zip((x, y, z), head.spacing))
    assert region.spacing == pytest.approx((side / 24,) * 3)
    reference = sitk.Image((24, 24, 24), sitk.sitkFloat32)
    reference.SetSpacing(region.spacing)
    reference.SetOrigin(region.origin)
    reference.SetDirection([float(v) for v in region.direction.ravel()])
    want = sitk.GetArrayFromImage(sitk.Resample(head.as_sitk(head.arrays[0]), reference, sitk.Transform(), sitk.sitkLinear))
    np.testing.assert_allclose(region.array, want, atol=2e-2)
    empty = np.zeros_like(head.tumour)
    with pytest.raises(gg.InputError, match="empty"):
        gg.bounding_box_roi(head.arrays[0], empty)
    whole = gg.bounding_box_roi(head.arrays[0], empty, empty_mask_policy="whole_image", output_size=0, details=True)
    assert whole[1].empty and whole[0].shape == head.arrays[0].shape


def symmetric_head(head: Head) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.uint8]]:
    """Two sequences whose halves are alike, voxel by voxel, and a bright tumour in one half."""
    random = np.random.default_rng(8)
    tumour = np.roll(head.tumour, 7, axis=2)
    sequences = []
    for _ in range(2):
        texture = random.standard_normal(head.brain.shape)
        healthy = np.where(head.brain > 0, 100.0 + 5.0 * (texture + texture[:, :, ::-1]), -3.0)
        sequences.append(np.where(tumour > 0, 400.0, healthy).astype(np.float32))
    return sequences, tumour


def test_healthy_tissue_takes_the_tumours_place(head: Head) -> None:
    sequences, tumour = symmetric_head(head)
    inside, outside = tumour > 0, head.brain == 0
    images = [head.as_own(sequence) for sequence in sequences]
    replaced, details = gg.replace_tumour(images, head.as_own(tumour), head.as_own(head.brain), details=True)
    assert replaced.array.shape == (*tumour.shape, 2) and details == gg.ReplacementDetails(0.0)
    for i, given in enumerate(sequences):
        got = replaced.array[..., i]
        np.testing.assert_allclose(got[inside], given[:, :, ::-1][inside], atol=0.05)
        np.testing.assert_array_equal(got[outside], given[outside])
        np.testing.assert_array_equal(got[:, :, :20], given[:, :, :20], "the other half")
    # With more reach what is near the tumour meets its mirror image; where both halves are tumour, the mean of the healthy brain.
    changed = [(gg.replace_tumour(sequences[0], tumour, head.brain, reach=reach) != sequences[0]).sum() for reach in (0.0, 8.0, 20.0)]
    assert changed[0] < changed[1] < changed[2]
    both = tumour | tumour[:, :, ::-1]
    filled, details = gg.replace_tumour(images[0], head.as_own(both), head.as_own(head.brain), details=True)
    assert details.filled_share == 1.0 and np.ptp(filled.array[inside]) < 0.05
    assert filled.array[inside].mean() == pytest.approx(100.0, abs=1.0)


def test_a_replaced_tumour_leaves_everything_in_its_place(head: Head) -> None:
    itk = pytest.importorskip("itk")
    (sequence, _), tumour = symmetric_head(head)
    given = head.as_sitk(sequence)
    got = gg.replace_tumour(given, head.as_sitk(tumour), head.as_sitk(head.brain))
    assert got.GetSpacing() == given.GetSpacing() and got.GetOrigin() == given.GetOrigin()
    assert got.GetDirection() == given.GetDirection() and got.GetMetaData("institution") == "nowhere"
    image, masks = head.as_itk(sequence), [head.as_itk(mask) for mask in (tumour, head.brain)]
    region = image.GetLargestPossibleRegion()
    region.SetIndex([3, -2, 5])
    for each in (image, *masks):
        each.SetRegions(region)
    out = gg.replace_tumour(image, *masks)
    assert list(out.GetSpacing()) == list(image.GetSpacing()) and list(out.GetOrigin()) == list(image.GetOrigin())
    np.testing.assert_array_equal(itk.array_from_matrix(out.GetDirection()), head.direction)
    assert list(out.GetLargestPossibleRegion().GetIndex()) == [3, -2, 5]
    assert out.GetMetaDataDictionary()["institution"] == "nowhere"
    np.testing.assert_array_equal(itk.array_view_from_image(out), sitk.GetArrayFromImage(got))
    bare = gg.replace_tumour(sequence, tumour, head.brain)
    assert type(bare) is np.ndarray and bare.shape == sequence.shape and bare.dtype == np.float32


def test_what_cannot_be_replaced_is_refused(head: Head) -> None:
    (sequence, _), tumour = symmetric_head(head)
    empty = np.zeros_like(tumour)
    with pytest.raises(gg.InputError, match="The tumour mask is empty: there is nothing to replace"):
        gg.replace_tumour(sequence, empty, head.brain)
    with pytest.raises(gg.InputError, match=f"None of the {tumour.sum()} voxels of the tumour mask lies in the brain mask"):
        gg.replace_tumour(sequence, tumour, empty)
    with pytest.raises(gg.InputError, match="The array of the tumour mask has the shape"):
        gg.replace_tumour(sequence, tumour[1:], head.brain)
    masks = {"tumour": head.as_sitk(tumour), "brain": head.as_sitk(head.brain)}
    for name in masks:
        moved = sitk.Image(masks[name])
        moved.SetOrigin((0.0, 0.0, 0.0))
        given = {**masks, name: moved}
        with pytest.raises(gg.InputError, match=f"The grid of the {name} mask differs"):
            gg.replace_tumour(head.as_sitk(sequence), given["tumour"], given["brain"])
    with pytest.raises(gg.InputError, match="Reach is -1 mm; set a number from 0 to 50"):
        gg.replace_tumour(sequence, tumour, head.brain, reach=-1)
    with pytest.raises(gg.InputError, match="softness is '2'; give a number"):
        gg.replace_tumour(sequence, tumour, head.brain, softness="2")  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def region(head: Head) -> Any:
    standardized = gg.masked_standardize([head.as_sitk(a) for a in head.arrays], head.as_sitk(head.brain))
    return gg.bounding_box_roi(standardized, head.as_sitk(head.tumour), output_size=72)


def test_models_are_inspected_and_run(head: Head, bundles: Bundles, region: Any) -> None:
    model = gg.Model(bundles.grading)
    assert model.is_loaded and model.manifest.class_names == ("LGG", "HGG") and model.manifest.width == 4
    assert model.layer_names[-2:] == ("res3", "res4") and model.number_of_parameters > 1000 and model.verify()
    again = pickle.loads(pickle.dumps(model))
    assert again.manifest == model.manifest
    found = model.run(region)
    assert isinstance(found, gg.Classification) and found.grade in ("LGG", "HGG")
    logits = np.array([found.logits[c] for c in ("LGG", "HGG")])
    softmax = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose([found.probabilities[c] for c in ("LGG", "HGG")], softmax, rtol=1e-6)
    assert gg.grade_classifier(region, bundles.grading) == again.run(region)
    unread = gg.Model(bundles.segmentation, load=False)
    assert not unread.is_loaded and unread.manifest.task == "segmentation"
    assert unread.load() is unread and unread.is_loaded and pickle.loads(pickle.dumps(unread)).is_loaded
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(model.manifest, "margin", 3.0)
    with pytest.raises(gg.InputError, match="72"):
        model.run([head.as_sitk(a) for a in head.arrays])


def test_a_model_travels_to_another_folder(bundles: Bundles, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(os.path.dirname(bundles.grading))
    model = gg.Model("grading")
    assert not model.manifest.demonstration and model.path == os.path.realpath(bundles.grading)
    said = pickle.dumps(model)
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(said).manifest == model.manifest


def test_numbers_of_numpy_are_numbers(head: Head) -> None:
    image, brain = head.arrays[0], head.brain
    want = gg.bounding_box_roi(image, brain, output_size=8, margin=2.0, outside_value=2.0)
    of_numpy: dict[str, Any] = {"output_size": np.int64(8), "margin": np.float32(2), "outside_value": np.float32(2)}
    np.testing.assert_array_equal(gg.bounding_box_roi(image, brain, **of_numpy), want)
    of_numpy = {"use_mask_label": np.bool_(True), "mask_label": brain.max()}
    np.testing.assert_array_equal(gg.masked_standardize(image, brain, **of_numpy), gg.masked_standardize(image, brain))
    few: list[dict[str, Any]] = [
        {"shrink_factors": [2, 2, 2], "maximum_number_of_iterations": [2], "convergence_threshold": 0.0},
        {"shrink_factors": np.array([2, 2, 2]), "maximum_number_of_iterations": np.array([2]), "convergence_threshold": np.array(0.0)},
        {"shrink_factors": np.uint8(2), "maximum_number_of_iterations": 2, "convergence_threshold": 0},
        {"shrink_factors": np.float64(2.0), "maximum_number_of_iterations": iter([2.0]), "convergence_threshold": 0},
    ]
    corrected = [gg.n4_bias_correction_chain(image, brain, **options) for options in few]
    np.testing.assert_array_equal(corrected[0], corrected[1])
    np.testing.assert_array_equal(corrected[0], corrected[2])
    np.testing.assert_array_equal(corrected[0], corrected[3])


@pytest.mark.parametrize(
    "options, says",
    [
        ({"output_size": -1}, "output_size is -1; give 0 or more"),
        ({"output_size": 8.5}, "output_size is 8.5; give a whole number"),
        ({"output_size": float("inf")}, "output_size is inf; give a whole number"),
        ({"output_size": np.float64("nan")}, "output_size is nan; give a whole number"),
        ({"output_size": "8"}, "output_size is '8'; give a whole number"),
        ({"output_size": True}, "output_size is True; give a whole number"),
        ({"output_size": np.int64(2**40)}, f"output_size is {2**40}; give a smaller number"),
        ({"margin": "2"}, "margin is '2'; give a number"),
        ({"margin": None}, "margin is None; give a number"),
        ({"outside_value": [1.0, "b"]}, "outside_value is 'b'; give a number"),
        ({"smoothing": 1}, "smoothing is 1; give True or False"),
        ({"mode": "sphere"}, "mode is 'sphere'; give one of cube, stretch, letterbox"),
    ],
)
def test_what_cannot_be_a_parameter_is_named(head: Head, options: Any, says: str) -> None:
    with pytest.raises(gg.InputError, match=f"^{re.escape(says)}"):
        gg.bounding_box_roi(head.arrays[0], head.brain, **{"output_size": 8, **options})


def test_what_cannot_be_a_list_is_named(head: Head, bundles: Bundles, tmp_path: pathlib.Path) -> None:
    options: Any
    for options, says in (
        ({"shrink_factors": [2, -1, 2]}, "shrink_factors is [2, -1, 2]; give 0 or more"),
        ({"shrink_factors": [2, 1.5, 2]}, "shrink_factors is 1.5; give a whole number"),
        ({"maximum_number_of_iterations": [2**40]}, f"maximum_number_of_iterations is [{2**40}]; give a smaller number"),
        ({"device": 0}, "device is 0; give a str"),
    ):
        with pytest.raises(gg.InputError, match=re.escape(says)):
            gg.n4_bias_correction_chain(head.arrays[0], head.brain, **options)
    size: Any = np.int64(72)
    spacing: Any = np.array([1, 1, 1])
    gg.write_seeded_bundle(tmp_path / "numpy", dataclasses.replace(GRADING, output_size=size, spacing=spacing), 2)
    assert gg.Model(tmp_path / "numpy").manifest.output_size == 72
    size = 72.5
    with pytest.raises(gg.InputError, match="output_size is 72.5; give a whole number"):
        gg.write_seeded_bundle(tmp_path / "half", dataclasses.replace(GRADING, output_size=size), 2)
    with pytest.raises(gg.InputError, match=re.escape("spacing is (1, 1); give 3 of them")):
        gg.write_seeded_bundle(tmp_path / "flat", dataclasses.replace(GRADING, spacing=(1, 1)), 2)
    with pytest.raises(gg.InputError, match="threads is -1; give 0"):
        gg.Model(bundles.grading, threads=-1)
    with pytest.raises(gg.InputError, match="precision is 'float16'; give one of"):
        gg.Model(bundles.grading, precision="float16")  # type: ignore[arg-type]


def test_demonstration_bundles_come_along() -> None:
    for task in ("segmentation", "grading", "brain-grading"):
        model = gg.Model(task)
        assert model.manifest.demonstration and model.verify() and len(model.training_cases) > 0
    with pytest.raises(FileNotFoundError):
        gg.Model("/nowhere/at-all")


def test_a_program_is_refused_without_consent(tmp_path: Any, bundles: Bundles) -> None:
    lone = tmp_path / "model.ts"
    lone.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(gg.ModelError, match="only with your consent: trust_model=True$"):
        gg.Model(
            lone,
            manifest=gg.Manifest(
                task="grading",
                channel_names=("T1",),
                class_names=("LGG", "HGG"),
                output_activation="logits",
                axis_order="zyx",
                bias_correction="none",
                standardization="brain",
                region="tumour",
                fit_mode="cube",
                output_size=72,
            ),
        )
    weights = os.path.join(bundles.grading, "models", "model.safetensors")
    broken = tmp_path / "broken"
    broken.mkdir()
    for folder in ("configs", "models"):
        (broken / folder).mkdir()
    (broken / "configs" / "metadata.json").write_bytes(open(os.path.join(bundles.grading, "configs", "metadata.json"), "rb").read())
    (broken / "models" / "model.safetensors").write_bytes(open(weights, "rb").read()[:-4])
    with pytest.raises(gg.ModelError, match="bytes|size"):
        gg.Model(broken)


def test_segmentation(head: Head, bundles: Bundles) -> None:
    image = gg.masked_standardize([head.as_sitk(a) for a in head.arrays], head.as_sitk(head.brain))
    labels, details = gg.torch_segmentation(image, bundles.segmentation, generate_probabilities=True, details=True)
    assert labels.GetPixelID() == sitk.sitkUInt8 and labels.GetOrigin() == image.GetOrigin()
    probabilities = sitk.GetArrayFromImage(details.probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), probabilities.argmax(axis=-1))
    masked = gg.torch_segmentation(image, gg.Model(bundles.segmentation), head.as_sitk(head.brain))
    inside = head.brain > 0
    np.testing.assert_array_equal(sitk.GetArrayFromImage(masked)[inside], sitk.GetArrayFromImage(labels)[inside])
    assert not sitk.GetArrayFromImage(masked)[~inside].any()
    with pytest.raises(gg.InputError):
        gg.torch_segmentation(head.arrays[0], bundles.segmentation)


def test_explanations(head: Head, bundles: Bundles, region: Any) -> None:
    model = gg.Model(bundles.grading)
    assert set(gg.grad_cam(region, model).maps) == set(model.layer_names)
    cells = gg.grad_cam(region, model, ("res3", "res4"), class_to_explain="HGG")
    assert set(cells.maps) == {"res3", "res4"} and cells.explained_class == "HGG"
    assert cells.maps["res4"].GetSize() == (1, 1, 1)
    reference = head.as_sitk(head.arrays[0])
    drawn = gg.grad_cam(region, model, "res3", class_to_explain=1, reference=reference)
    assert drawn.maps["res3"].GetSize() == reference.GetSize() and drawn.has_positive_cell == {"res3": cells.has_positive_cell["res3"]}
    assert (sitk.GetArrayFromImage(drawn.maps["res3"])[sitk.GetArrayFromImage(drawn.supports["res3"]) == 0] == 0).all()
    guided = gg.guided_backpropagation(region, model, class_to_explain="HGG")
    assert guided.map.GetNumberOfComponentsPerPixel() == 4 and guided.executed_relus == guided.guided_relus > 0
    assert guided.probabilities == cells.probabilities == model.run(region).probabilities
    with pytest.raises(ValueError, match="LGG, HGG"):
        gg.grad_cam(region, model, class_to_explain="WHO 4")
    with pytest.raises(ValueError, match="class_to_explain is 0.5; give a whole number"):
        gg.guided_backpropagation(region, model, class_to_explain=0.5)  # type: ignore[call-overload]
    with pytest.raises(gg.InputError, match="res9"):
        gg.grad_cam(region, model, "res9")


def test_quality_by_hand(head: Head) -> None:
    random = np.random.default_rng(3)
    maps = random.random((*head.brain.shape, 2)).astype(np.float32)
    quality = gg.explanation_quality(maps, head.tumour, head.brain, region_labels=head.tumour.astype(np.int16) * 2)
    energy = np.abs(maps.astype(np.float64)).sum(axis=-1)
    brain, tumour = head.brain > 0, (head.tumour > 0) & (head.brain > 0)
    assert quality.total_energy == pytest.approx(energy[brain].sum(), rel=1e-9)
    assert quality.tumour_share == pytest.approx(energy[tumour].sum() / energy[brain].sum(), rel=1e-9)
    assert quality.tumour_chance == pytest.approx(tumour.sum() / brain.sum(), rel=1e-12)
    assert quality.labels == (2.0,) and quality.label_shares[0] == pytest.approx(quality.tumour_share, rel=1e-9)
    assert sum(quality.sequence_shares) == pytest.approx(1.0) and not quality.empty_map
    assert gg.explanation_quality(maps * 0, head.tumour).empty_map


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(
    "function, run, enumerations",
    [
        (gg.brain_mask, "BrainMask", {}),
        (gg.n4_bias_correction_chain, "N4BiasCorrectionChain", {"rescaling": ("none", "mean", "range")}),
        (gg.masked_standardize, "MaskedStandardize", {"mode": ("mask", "image")}),
        (
            gg.bounding_box_roi,
            "BoundingBoxROI",
            {
                "mode": ("cube", "stretch", "letterbox"),
                "margin_unit": ("voxels", "millimetres"),
                "empty_mask_policy": ("exception", "whole_image"),
                "interpolation": ("linear", "nearest_neighbor"),
                "border": ("repeat", "extrapolate"),
            },
        ),
        (gg.replace_tumour, "TumourReplacement", {}),
        (
            gg.torch_segmentation,
            "TorchSegmentation",
            {"blend": ("gaussian", "constant"), "border": ("constant", "reflect", "replicate", "circular")},
        ),
        (gg.explanation_quality, "ExplanationQuality", {"energy_mode": ("absolute", "positive")}),
        (gg.grad_cam, "GradCAM", {}),
        (gg.guided_backpropagation, "GuidedBackpropagation", {}),
        (gg.grade, "CaseGrading", {"explain": ("none", "gradcam", "guided-backprop", "all")}),
        (
            gg.sequence_preparation,
            "SequencePreparation",
            {"bias_correction": ("n4", "none"), "standardization": ("brain", "image")},
        ),
        (gg.rigid_registration, "RigidRegistration", {}),
        (gg.rigid_resample, "RigidResample", {}),
        (gg.explanation_faithfulness, "ExplanationFaithfulness", {}),
        (gg.explanation_sanity, "ExplanationSanity", {}),
    ],
)
def test_every_parameter_is_reachable_with_the_default_of_cxx(function: Any, run: str, enumerations: Any) -> None:
    """What the extension can set are the keywords, and their defaults are the filter's."""
    made = getattr(core(), run)()
    parameters = inspect.signature(function).parameters
    names = [n[4:] for n in dir(made) if n.startswith("set_") and hasattr(made, "get_" + n[4:]) and n != "set_brain_mask"]
    assert names
    for name in names:
        assert name in parameters, f"{name} of {run} is out of reach"
        there = getattr(made, "get_" + name)()
        here = parameters[name].default
        if name in enumerations:
            assert enumerations[name][there] == here
        elif name == "class_to_explain":
            # None is the predicted class, which the checks of C++ are told of.
            assert here is None and there == (0 if function in (gg.explanation_faithfulness, gg.explanation_sanity) else -1)
        elif isinstance(there, (tuple, list)) or not isinstance(there, (bool, int, float, str)):
            values = list(there)
            if here is not None:
                wanted = [here] * len(values) if isinstance(here, (int, float)) else list(here)
                assert values == wanted, name
        else:
            assert there == here, name


def test_every_filter_of_the_headers_has_its_parameters() -> None:
    """Each parameter that help() took from the C++ header is a keyword, or an image of another name."""
    from gliomagrading._documentation_of_headers import CLASSES

    images_and_models = {
        "mask_image",
        "confidence_image",
        "model",
        "support",
        "tumour_mask",
        "brain_mask",
        "region_labels",
        "brain_mask_image",
        "tumour_mask_image",
        "segmentation_model",
        "grading_model",
        "brain_grading_model",
        "region_labels_image",
        "region_image",
        "map_image",
        "mask",
        "reference_image",
        "reference_mask_image",
    }
    of_memory_and_time = {"number_of_statistics_divisions", "keep_intermediates", "keep_corrected", "tile_memory", "border_mask"}
    functions: dict[str, Any] = {
        "BrainMaskFilter": gg.brain_mask,
        "N4BiasCorrectionChainFilter": gg.n4_bias_correction_chain,
        "MaskedStandardizeFilter": gg.masked_standardize,
        "BoundingBoxROIFilter": gg.bounding_box_roi,
        "TumourReplacementFilter": gg.replace_tumour,
        "GradCAMImageFilter": gg.grad_cam,
        "GuidedBackpropagationImageFilter": gg.guided_backpropagation,
        "ExplanationQualityFilter": gg.explanation_quality,
        "GliomaGradingFilter": gg.grade,
        "TorchSegmentationFilter": gg.torch_segmentation,
        "GradeClassifierFilter": gg.grade_classifier,
        "SequencePreparationFilter": gg.sequence_preparation,
        "RigidRegistrationFilter": gg.rigid_registration,
        "RigidResampleImageFilter": gg.rigid_resample,
        "SequenceOrderCalculator": gg.sequence_order,
        "ExplanationFaithfulnessCalculator": gg.explanation_faithfulness,
        "ExplanationSanityCalculator": gg.explanation_sanity,
    }
    # Every filter of the module, but those that only others are made of.
    parts = {
        "AxisAlignedResampleImageFilter",
        "FromModelSpaceFilter",
        "MaskedIntensityStatisticsFilter",
        "ModelSpaceFilter",
        "TorchExplanationImageFilter",
        "UprightGridCalculator",
    }
    headers = (pathlib.Path(__file__).resolve().parents[3] / "include").glob("itk*.h")
    classes = {path.stem[3:] for path in headers if path.stem.endswith(("Filter", "Calculator"))}
    assert classes - parts == set(functions) == set(CLASSES)
    for name, function in functions.items():
        parameters = set(re.findall(r"^    (\w+): ", CLASSES[name], re.MULTILINE))
        missing = parameters - set(inspect.signature(function).parameters) - images_and_models - of_memory_and_time
        assert not missing, f"{name}: {missing}"
        assert CLASSES[name] in function.__doc__


def test_progress_goes_up_to_one(head: Head) -> None:
    seen: list[tuple[float, str]] = []
    gg.n4_bias_correction_chain(head.arrays[0], head.brain, progress=lambda p, s: seen.append((p, s)))
    assert seen and seen[-1][0] == pytest.approx(1.0) and seen[-1][1] == "N4BiasCorrectionChainFilter"
    assert all(a[0] <= b[0] + 1e-6 for a, b in zip(seen, seen[1:]))
    with pytest.raises(TypeError, match="progress"):
        gg.brain_mask(head.arrays[0], progress=3)  # type: ignore[call-overload]


def test_a_bar_is_shown(head: Head, capfd: pytest.CaptureFixture[str]) -> None:
    gg.brain_mask(head.arrays[0], progress=True)
    assert "100%" in capfd.readouterr().err


def slow(head: Head) -> dict[str, Any]:
    """Arguments of an N4 of minutes."""
    big = np.kron(head.arrays[0], np.ones((3, 3, 3), np.float32))
    return {"image": big, "shrink_factors": 1, "maximum_number_of_iterations": (100000,) * 4, "convergence_threshold": 0.0}


def test_an_exception_of_the_callback_ends_the_filter(head: Head) -> None:
    def stop(progress: float, stage: str) -> None:
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        gg.n4_bias_correction_chain(**slow(head), progress=stop)


def test_an_interrupt_ends_the_filter(head: Head) -> None:
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            gg.n4_bias_correction_chain(**slow(head))
    finally:
        timer.cancel()
    gg.brain_mask(head.arrays[0])


@pytest.mark.parametrize("part", ["segmentation", "test-explanation"])
def test_an_interrupt_ends_a_network(
    part: str, phantom: Phantom, tmp_path_factory: pytest.TempPathFactory, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the layers of a tile, and between the runs of an explanation's test."""
    folder = tmp_path_factory.mktemp("slow")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    seen: list[str] = []

    def interrupt(progress: float, stage: str) -> None:
        if not seen and (part == "segmentation" or stage == "test-explanation"):
            seen.append(stage)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    if part == "segmentation":
        # One tile of minutes.
        gg.write_seeded_bundle(folder / "wide", dataclasses.replace(SEGMENTATION, width=64), 1)
        array = np.ones((160, 160, 160, 4), np.float32)
        with pytest.raises(KeyboardInterrupt):
            gg.torch_segmentation(array, folder / "wide", tile_memory=4096, progress=interrupt)
    else:
        gg.write_seeded_bundle(folder / "wide", dataclasses.replace(GRADING, width=16, output_size=96), 1)
        with pytest.raises(KeyboardInterrupt):
            gg.grade(phantom.files, tumour_mask=phantom.tumour, grading_model=folder / "wide", test_explanation=True, progress=interrupt)
    assert seen and not list(tmp_path.iterdir())


@pytest.mark.parametrize("daemons", [1, 3])
def test_python_may_end_while_a_filter_runs(daemons: int) -> None:
    """Daemons are not waited for: their filters are."""
    code = f"""
import sys, threading, time
sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parent)!r})
import numpy as np, gliomagrading as gg, test_filters
head = test_filters.make_head()
begun = threading.Semaphore(0)
def work():
    while True:
        try:
            gg.n4_bias_correction_chain(**test_filters.slow(head), progress=lambda *_: begun.release())
        except gg.Aborted:
            pass
for _ in range({daemons}):
    threading.Thread(target=work, daemon=True).start()
for _ in range({daemons}):
    begun.acquire()
print("ends")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "ends\n", (done.returncode, done.stderr[-2000:])


def test_python_may_end_while_a_callback_waits() -> None:
    """For what never comes: its filter is ended, and the callback left alone."""
    code = f"""
import sys, threading
sys.path.insert(0, {str(pathlib.Path(__file__).resolve().parent)!r})
import gliomagrading as gg, test_filters
begun = threading.Event()
def wait(*_):
    begun.set()
    threading.Event().wait()
work = lambda: gg.n4_bias_correction_chain(**test_filters.slow(test_filters.make_head()), progress=wait)
threading.Thread(target=work, daemon=True).start()
begun.wait()
print("ends")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "ends\n", (done.returncode, done.stderr[-2000:])


def test_other_threads_run_meanwhile(head: Head) -> None:
    """Python's lock is free while C++ runs: this thread counts on."""
    done = threading.Event()

    def work() -> None:
        with pytest.raises(LookupError):
            gg.n4_bias_correction_chain(**slow(head), progress=check)
        done.set()

    stop = threading.Event()

    def check(progress: float, stage: str) -> None:
        if stop.is_set():
            raise LookupError

    thread = threading.Thread(target=work)
    thread.start()
    count = 0
    while count < 1000 and not done.is_set():
        count += 1
    assert count == 1000 and not done.is_set()
    stop.set()
    thread.join()


def test_exceptions_say_it_all(head: Head) -> None:
    with pytest.raises(gg.InputError) as caught:
        gg.brain_mask(head.arrays[0] * np.float32(0))
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, gg.Error)
    assert "0x" not in str(caught.value) and "ITK ERROR" not in str(caught.value) and "0" in str(caught.value)
    bad = np.array(head.arrays[0])
    bad[4, 5, 6] = np.nan
    with pytest.raises(gg.Error, match="nan|finite"):
        gg.masked_standardize(bad, np.ones_like(head.brain))


def test_threads(head: Head) -> None:
    before = gg.get_number_of_threads()
    try:
        want = gg.masked_standardize(head.arrays[0], head.brain)
        gg.set_number_of_threads(1)
        assert gg.get_number_of_threads() == 1
        np.testing.assert_array_equal(gg.masked_standardize(head.arrays[0], head.brain), want)
    finally:
        gg.set_number_of_threads(0)
    assert gg.get_number_of_threads() == before
    for threads in (-1, 2**40):
        with pytest.raises(gg.InputError, match=f"threads is {threads}; give 0"):
            gg.set_number_of_threads(threads)
    with pytest.raises(ValueError, match="threads is 1.5; give a whole number"):
        gg.set_number_of_threads(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maximum_number_of_iterations is 2.5; give a whole number"):
        gg.n4_bias_correction_chain(head.arrays[0], head.brain, maximum_number_of_iterations=(2.5,))  # type: ignore[arg-type]


def read(phantom: Phantom, name: str) -> Any:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(phantom.results / name)))


def test_grade_gives_the_bits_of_the_program(phantom: Phantom, bundles: Bundles) -> None:
    """By files as by SimpleITK's images: the program's images and numbers."""
    want = json.loads((phantom.results / "result.json").read_text())
    by_path = gg.grade(phantom.files, tumour_mask=phantom.tumour, grading_model=bundles.grading)
    images = [sitk.ReadImage(phantom.files[name], sitk.sitkFloat32) for name in ("T1", "T1c", "T2", "FLAIR")]
    by_image = gg.grade(images, tumour_mask=sitk.ReadImage(phantom.tumour), grading_model=bundles.grading)
    for result, as_array in ((by_path, np.asarray), (by_image, sitk.GetArrayFromImage)):
        assert result.grade == want["grade"] and result.verdict == want["verdict"] and list(result.reasons) == want["reasons"]
        assert result.probabilities == want["probabilities"]
        assert result.document["without_tumour"] == want["without_tumour"]
        assert result.probabilities_without_tumour == want["without_tumour"]["probabilities"]
        assert set(want["without_tumour"]["probabilities"]) == {"LGG", "HGG"}
        assert result.quality == want["quality"] and result.region == want["roi"]
        assert result.warnings == tuple(want["warnings"]) and result.tumour_volume_ml == want["tumour_volume_ml"]
        assert result.tumour_probability is None
        np.testing.assert_array_equal(as_array(result.tumour), read(phantom, "tumour.nii.gz"))
        for layer in ("res3", "res4"):
            np.testing.assert_array_equal(as_array(result.gradcam[layer]), read(phantom, f"gradcam-{layer}.nii.gz"))
        np.testing.assert_array_equal(as_array(result.guided_backpropagation), read(phantom, "guided-backprop.nii.gz"))
    assert by_path != by_image, "they hold arrays"
    assert isinstance(by_path.tumour, gg.Image) and isinstance(by_image.tumour, sitk.Image)
    assert by_image.tumour.GetOrigin() == images[0].GetOrigin()
    assert by_path.provenance["inputs"] == want["provenance"]["inputs"]
    here, there = by_path.provenance["parameters"], want["provenance"]["parameters"]
    for key in ("explain", "test_explanation", "device", "precision", "threads", "geometry-tolerance", "register"):
        assert here[key] == there[key] and type(here[key]) is type(there[key]), key
    assert here["class_to_explain"] == "predicted" and here["explain_probability"] is False and here["turn_upright"] is True
    assert here["grade_without_tumour"] is True
    for wanted, got in zip(want["provenance"]["models"].values(), by_path.provenance["models"].values()):
        assert wanted == got
    copied = pickle.loads(pickle.dumps(by_image))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(copied.gradcam["res3"]), sitk.GetArrayFromImage(by_image.gradcam["res3"]))


def test_a_second_grader_sees_the_whole_brain(phantom: Phantom, bundles: Bundles, tmp_path: pathlib.Path) -> None:
    of_brain = str(tmp_path / "brain")
    gg.write_seeded_bundle(of_brain, dataclasses.replace(GRADING, region="brain", fit_mode="stretch", margin=0), 3)
    images = {name: sitk.ReadImage(file) for name, file in phantom.files.items()}
    labels = sitk.GetArrayFromImage(images["T1"]).astype(np.uint8)
    labels[:] = np.arange(labels.shape[2]) % 2 + 3
    regions = sitk.GetImageFromArray(labels)
    regions.CopyInformation(images["T1"])
    tumour = sitk.ReadImage(phantom.tumour)
    result = gg.grade(images, tumour_mask=tumour, grading_model=bundles.grading, brain_grading_model=of_brain, region_labels=regions)
    assert set(result.document["whole_brain"]["probabilities"]) == set(result.probabilities)
    assert result.brain_gradcam["res3"].GetSize() == images["T1"].GetSize()
    guided = result.brain_guided_backpropagation
    assert guided is not None and guided.GetNumberOfComponentsPerPixel() == 4
    shares = [result.quality[f"brain-guided-backprop-label-{label}-share"] or 0.0 for label in (3, 4)]
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)
    alone = gg.grade(images, tumour_mask=tumour, grading_model=bundles.grading)
    assert alone.document["whole_brain"] is None and not alone.brain_gradcam and alone.brain_guided_backpropagation is None
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(alone.gradcam["res3"]), sitk.GetArrayViewFromImage(result.gradcam["res3"]))
    with pytest.raises(gg.InputError, match="region_labels"):
        gg.grade(images, tumour_mask=tumour, grading_model=bundles.grading, region_labels=regions, register=True)


def test_not_every_case_has_a_grade_without_its_tumour(phantom: Phantom, bundles: Bundles) -> None:
    """None was asked for, or the other half is no healthier."""
    options: dict[str, Any] = {"grading_model": bundles.grading, "explain": "none"}
    want = json.loads((phantom.results / "result.json").read_text())
    off = gg.grade(phantom.files, tumour_mask=phantom.tumour, grade_without_tumour=False, **options)
    assert off.document["without_tumour"] is None and off.probabilities_without_tumour is None
    assert off.probabilities == pytest.approx(want["probabilities"]) and off.provenance["parameters"]["grade_without_tumour"] is False
    labels = gg.Image.read(phantom.tumour, mask=True).array
    both = gg.grade(phantom.files, tumour_mask=labels | labels[:, :, ::-1], **options)
    assert both.grade is not None and both.document["without_tumour"]["filled_share"] > 0.5
    assert both.document["without_tumour"]["probabilities"] is None and both.probabilities_without_tumour is None


def test_a_given_mask_is_not_the_result(phantom: Phantom, bundles: Bundles) -> None:
    images = [gg.Image.read(phantom.files[name]) for name in ("T1", "T1c", "T2", "FLAIR")]
    tumour = gg.Image.read(phantom.tumour, mask=True)
    brain = gg.brain_mask(images)
    result = gg.grade(images, tumour_mask=tumour, brain_mask=brain, grading_model=bundles.grading, explain="none")
    assert result.brain_mask is not None
    assert not np.shares_memory(result.tumour.array, tumour.array) and not np.shares_memory(result.brain_mask.array, brain.array)


def test_the_example_of_the_readme(phantom: Phantom, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer's ten lines, as they are printed, from images of SimpleITK to a grade and what explains it."""
    here = pathlib.Path(__file__).resolve().parent
    code = re.findall(r"```python\n(.*?)```", (here.parent / "README.md").read_text(), re.DOTALL)[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    for name, path in phantom.files.items():
        os.symlink(path, tmp_path / f"{name.lower()}.nii.gz")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].grade in ("LGG", "HGG")
    assert sitk.GetArrayFromImage(sitk.ReadImage("tumour.nii.gz")).any()
    assert sitk.GetArrayFromImage(sitk.ReadImage("gradcam-res4.nii.gz")).shape == names["images"][0].GetSize()[::-1]
    assert sitk.ReadImage("guided-backprop.nii.gz").GetNumberOfComponentsPerPixel() == 4


def test_grade_says_what_it_is_for(phantom: Phantom, tmp_path: pathlib.Path) -> None:
    """The demonstration bundles, whose warning is one of Python too where the case is no phantom."""
    images = [gg.Image.read(phantom.files[name]) for name in ("T1", "T1c", "T2", "FLAIR")]
    for image in images:
        image.metadata.clear()
    with pytest.warns(gg.GliomaGradingWarning, match="do not rely on this grade"):
        result = gg.grade(images, tumour_mask=phantom.tumour, explain="none")
    assert result.warnings[0] == "Research use only." and result.intended_use and not result.gradcam
    assert result.guided_backpropagation is None and result.provenance["inputs"]["tumour-mask"]["sha256"]
    with pytest.warns(gg.GliomaGradingWarning, match="do not rely on this grade"):
        both = gg.grade(images, tumour_mask=phantom.tumour, brain_grading_model="brain-grading", explain="none")
    assert result.document["whole_brain"] is None and both.probabilities == result.probabilities
    # The program takes the same second grader.
    for more, want in (((), None), (("--brain-grading-model", "demonstration"), both.document["whole_brain"])):
        folder = tmp_path / str(len(more))
        grade_by_program(phantom.files, phantom.tumour, folder, "--explain", "none", *more)
        whole_brain = json.loads((folder / "result.json").read_text())["whole_brain"]
        assert (whole_brain and whole_brain["probabilities"]) == (want and want["probabilities"])
    with pytest.raises(ValueError, match="four"):
        gg.grade(images[:3])
    with pytest.raises(ValueError, match="FLAIR is missing"):
        gg.grade(dict(zip(("t1", "t1c", "t2"), images)))
    with pytest.raises(ValueError, match="not known"):
        gg.grade({"T1": images[0], "ADC": images[1]})
    with pytest.raises(ValueError, match="reference"):
        gg.grade(images, register=True, reference="T9")


def test_registration_is_that_of_the_program(phantom: Phantom, bundles: Bundles, tmp_path: Any) -> None:
    """FLAIR on a grid of its own: the same transforms, and maps on the reference's grid, as the program writes them."""
    flair = sitk.ReadImage(phantom.files["FLAIR"], sitk.sitkFloat32)
    moved = sitk.Resample(flair, flair, sitk.TranslationTransform(3, (4.0, -2.0, 3.0)))
    files = {**phantom.files, "FLAIR": str(tmp_path / "flair.nii.gz")}
    sitk.WriteImage(moved, files["FLAIR"])
    options = ("--grading-model", bundles.grading, "--explain", "gradcam", "--register", "--reference", "t1c")
    grade_by_program(files, phantom.tumour, tmp_path / "results", *options)
    want = json.loads((tmp_path / "results" / "result.json").read_text())
    images = {name: sitk.ReadImage(path, sitk.sitkFloat32) for name, path in files.items()}
    result = gg.grade(images, tumour_mask=phantom.tumour, grading_model=bundles.grading, explain="gradcam", register=True, reference="T1c")
    assert result.document["registration"] == want["registration"] and result.probabilities == want["probabilities"]
    for layer in ("res3", "res4"):
        got = sitk.GetArrayFromImage(result.gradcam[layer])
        np.testing.assert_array_equal(got, sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "results" / f"gradcam-{layer}.nii.gz"))))
    assert result.gradcam["res3"].GetOrigin() == images["T1c"].GetOrigin() and result.brain_mask is None
    assert result.provenance["parameters"]["register"] is True and result.provenance["parameters"]["reference"] == "t1c"
    assert set(result.gradcam["res3"].GetMetaDataKeys()) >= {"ITK_FileNotes"} & set(images["T1c"].GetMetaDataKeys())


def test_masks_of_a_registration_lie_on_the_grid_of_its_reference(head: Head, bundles: Bundles) -> None:
    """What lies elsewhere would be cut and moved silently."""
    images = [head.as_sitk(a) for a in head.arrays]
    brain, tumour = head.as_sitk(head.brain), head.as_sitk(head.tumour)

    def elsewhere(mask: Any) -> Any:
        other = sitk.Image(mask)[2:-2, 1:, :-1]
        other.SetOrigin([v + 20.0 for v in mask.GetOrigin()])
        return other

    options: dict[str, Any] = {"grading_model": bundles.grading, "explain": "none", "register": True}
    said = "The %s is not on the grid of the reference T1c: .* voxels of .*; the reference has .*Give it on the reference's grid"
    with pytest.raises(gg.InputError, match=said % "tumour mask"):
        gg.grade(images, brain_mask=brain, tumour_mask=elsewhere(tumour), **options)
    with pytest.raises(gg.InputError, match=said % "brain mask"):
        gg.grade(images, brain_mask=elsewhere(brain), tumour_mask=tumour, **options)
    # Within the tolerance it is the same grid.
    near = sitk.Image(tumour)
    near.SetOrigin([v + 0.1 for v in tumour.GetOrigin()])
    with pytest.raises(gg.InputError, match=said % "tumour mask"):
        gg.grade(images, brain_mask=brain, tumour_mask=near, **options)
    assert gg.grade(images, brain_mask=brain, tumour_mask=near, geometry_tolerance=0.1, **options).grade is not None


@pytest.mark.parametrize("tolerance", [-1e-6, 0.6, float("inf"), np.float64("nan")])
def test_a_tolerance_that_none_can_be(head: Head, tolerance: float) -> None:
    """Everything, or nothing, would be on one grid."""
    with pytest.raises(gg.InputError, match=re.escape(f"geometry_tolerance is {float(tolerance)}; give 0 to 0.5")):
        gg.grade(head.arrays, geometry_tolerance=tolerance)


def test_an_interrupt_ends_a_registration(phantom: Phantom, bundles: Bundles) -> None:
    """Which tells its progress too; then the rest goes on from there."""
    options: dict[str, Any] = {"tumour_mask": phantom.tumour, "grading_model": bundles.grading, "explain": "none", "register": True}
    seen: list[tuple[float, str]] = []

    def stop(progress: float, stage: str) -> None:
        seen.append((progress, stage))
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        gg.grade(phantom.files, progress=stop, **options)
    assert len(seen) == 1 and seen[0][1] == "register" and 0.0 <= seen[0][0] < 0.3
    seen.clear()
    gg.grade(phantom.files, progress=lambda p, s: seen.append((p, s)), **options)
    assert all(a[0] <= b[0] + 1e-6 for a, b in zip(seen, seen[1:])) and seen[-1][0] == pytest.approx(1.0)
    assert {s for _, s in seen} > {"register"}


def test_one_name_may_be_a_str(phantom: Phantom, bundles: Bundles) -> None:
    result = gg.grade(phantom.files, tumour_mask=phantom.tumour, grading_model=bundles.grading, explain="gradcam", grad_cam_layers="res4")
    assert set(result.gradcam) == {"res4"}
    layers: Any = ["res4", 3]
    with pytest.raises(gg.InputError, match="grad_cam_layers is 3; give names"):
        gg.grade(phantom.files, tumour_mask=phantom.tumour, grading_model=bundles.grading, grad_cam_layers=layers)


def test_a_series_that_no_folder_has_is_refused(phantom: Phantom, bundles: Bundles) -> None:
    for series in ("1.2.3", ["1.2.3"], ["t1=1.2.3"]):
        with pytest.raises(gg.InputError, match=r"has the series '(t1=)?1\.2\.3'; leave it out, or check the UID"):
            gg.grade(phantom.files, tumour_mask=phantom.tumour, grading_model=bundles.grading, explain="none", series=series)


def test_a_bare_mask_beside_paths_lies_on_their_grid(phantom: Phantom, bundles: Bundles) -> None:
    tumour = gg.Image.read(phantom.tumour, mask=True).array
    options: dict[str, Any] = {"grading_model": bundles.grading, "explain": "none"}
    by_path = gg.grade(phantom.files, tumour_mask=phantom.tumour, **options)
    by_array = gg.grade(phantom.files, tumour_mask=tumour, **options)
    assert by_array.probabilities == by_path.probabilities and by_array.tumour_volume_ml == by_path.tumour_volume_ml
