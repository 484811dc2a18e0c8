# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Preparing, registering and naming sequences, and the checks of explanations."""

from typing import Any

import numpy as np
import pytest

import gliomagrading as gg

from conftest import SEQUENCES, Bundles, Head, Phantom

sitk = pytest.importorskip("SimpleITK")


def test_preparation_is_its_steps(head: Head) -> None:
    images = [head.as_sitk(a) for a in head.arrays]
    plain = gg.sequence_preparation(images, head.as_sitk(head.brain), bias_correction="none", upper_quantile=0.99, outside_value=-2.0)
    want = gg.masked_standardize(images, head.as_sitk(head.brain), upper_quantile=0.99, outside_value=-2.0)
    np.testing.assert_allclose(sitk.GetArrayFromImage(plain.image), sitk.GetArrayFromImage(want), atol=1e-6)
    assert plain.image.GetOrigin() == images[0].GetOrigin() and plain.image.GetMetaData("institution") == "nowhere"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(plain.brain_mask), head.brain)
    assert plain.brain_volume == pytest.approx(head.brain.sum() * np.prod(head.spacing) / 1000.0) and not plain.sequences_disagree
    by_name = gg.sequence_preparation(dict(zip(SEQUENCES, head.arrays)), head.brain, shrink_factor=2)
    corrected = [gg.n4_bias_correction_chain(a, head.brain, shrink_factors=2) for a in head.arrays]
    np.testing.assert_allclose(by_name.image, gg.masked_standardize(corrected, head.brain), atol=1e-4)
    whole = gg.sequence_preparation(images, head.as_sitk(head.brain), bias_correction="none", standardization="image")
    assert abs(sitk.GetArrayFromImage(whole.image)[..., 0].mean()) < 1e-4
    with pytest.raises(gg.InputError, match="not skull-stripped"):
        gg.sequence_preparation(head.arrays)  # 10 ml in voxels of 1 mm
    with pytest.raises(gg.InputError):
        gg.sequence_preparation([*images[:3], head.as_sitk(head.arrays[3])[:, :, :10]], head.as_sitk(head.brain))


def test_one_image_of_four_components_gives_its_kind(head: Head) -> None:
    vector = np.stack(head.arrays, axis=-1)
    want = gg.sequence_preparation(head.arrays, head.brain, bias_correction="none")
    by_numpy = gg.sequence_preparation(vector, head.brain, bias_correction="none")
    assert type(by_numpy.image) is np.ndarray
    np.testing.assert_array_equal(by_numpy.image, want.image)
    by_sitk = gg.sequence_preparation(sitk.Compose([head.as_sitk(a) for a in head.arrays]), head.brain, bias_correction="none")
    assert isinstance(by_sitk.image, sitk.Image) and isinstance(by_sitk.brain_mask, sitk.Image)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_sitk.image), want.image)


def test_a_moved_sequence_is_found_again(phantom: Phantom) -> None:
    t1 = sitk.ReadImage(phantom.files["T1"], sitk.sitkFloat32)
    flair = sitk.ReadImage(phantom.files["FLAIR"], sitk.sitkFloat32)
    shift = (5.0, -3.0, 4.0)
    moved = sitk.Image(flair)
    moved.SetOrigin([o + s for o, s in zip(flair.GetOrigin(), shift)])
    found = gg.rigid_registration(moved, t1)
    assert found.rotation == pytest.approx(np.eye(3), abs=0.02) and found.translation == pytest.approx(shift, abs=1.5)
    centre = np.array(t1.TransformContinuousIndexToPhysicalPoint([n / 2 for n in t1.GetSize()]))
    np.testing.assert_allclose(found.rotation @ centre + found.translation, centre + shift, atol=0.5)
    assert found.final_metric < found.initial_metric < 0 and found.overlap > 0.9
    assert found.mean_displacement == pytest.approx(np.linalg.norm(shift), abs=0.5) and len(found.iterations_per_level) > 0
    assert found.image.GetOrigin() == t1.GetOrigin() and found.image.GetSize() == t1.GetSize()
    again = gg.rigid_resample(moved, t1, found, ignore_zeros=True)
    np.testing.assert_allclose(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(found.image), atol=1e-3)
    small = gg.rigid_resample(flair, t1[5:25, 6:20, 7:15])
    np.testing.assert_allclose(sitk.GetArrayFromImage(small), sitk.GetArrayFromImage(flair[5:25, 6:20, 7:15]), atol=1e-3)
    with pytest.raises(gg.InputError):
        gg.rigid_registration(sitk.GetImageFromArray(np.zeros((20, 20, 20), np.float32)), t1)


def test_swapped_sequences_are_named(phantom: Phantom) -> None:
    images = {name: gg.Image.read(path) for name, path in phantom.files.items()}
    brain = gg.brain_mask(images)
    order = gg.sequence_order(images, brain)
    assert order.looks_right and order.fluid_ranks["T2"] == min(order.fluid_ranks.values())
    swapped = gg.sequence_order({**images, "T2": images["T1"], "T1": images["T2"]}, brain)
    assert not swapped.looks_right and swapped.looks_like["T1"] == "T2"
    twice = gg.sequence_order({**images, "T1c": images["T1"]}, brain)
    assert ("T1", "T1c") in twice.duplicates and not twice.looks_right
    with pytest.raises(gg.InputError):
        gg.sequence_order(images, brain.array[1:])


@pytest.fixture(scope="module")
def region(head: Head) -> Any:
    standardized = gg.masked_standardize([head.as_own(a) for a in head.arrays], head.as_own(head.brain))
    return gg.bounding_box_roi(standardized, head.as_own(head.tumour), output_size=72)


def test_faithfulness_follows_the_model(bundles: Bundles, region: Any) -> None:
    model = gg.Model(bundles.grading)
    guided = gg.guided_backpropagation(region, model, class_to_explain="HGG")
    curves = gg.explanation_faithfulness(
        region, model, guided.map, class_to_explain="HGG", block_size=24, number_of_steps=2, number_of_chance_orders=0
    )
    whole = gg.grade_classifier(region, model).probabilities["HGG"]
    nothing = gg.grade_classifier(np.zeros_like(region.array), model).probabilities["HGG"]
    assert len(curves.deletion_curve) == 3
    assert curves.deletion_curve[0] == pytest.approx(whole, abs=1e-6) == curves.insertion_curve[2]
    assert curves.deletion_curve[2] == pytest.approx(nothing, abs=1e-6) == curves.insertion_curve[0]
    area = (curves.deletion_curve[0] / 2 + curves.deletion_curve[1] + curves.deletion_curve[2] / 2) / 2
    assert curves.deletion_area == pytest.approx(area) and np.isnan(curves.chance_deletion_area)
    with pytest.raises(gg.InputError, match="NumberOfSteps"):
        gg.explanation_faithfulness(region, model, guided.map, number_of_steps=0)


def test_the_checks_are_about_the_class_of_the_maps(bundles: Bundles, region: Any) -> None:
    """By default the predicted one, whichever that is."""
    few: dict[str, Any] = {"block_size": 72, "number_of_steps": 1, "number_of_chance_orders": 0}
    seen = set()
    for image in (region.array, -3.0 * region.array, np.zeros_like(region.array), np.abs(region.array)):
        maps = gg.grad_cam(image, bundles.grading, "res3")
        seen.add(maps.explained_class)
        curves = gg.explanation_faithfulness(image, bundles.grading, np.ones_like(image[..., 0]), **few)
        assert curves.deletion_curve[0] == pytest.approx(max(maps.probabilities.values()), abs=1e-6)
    predicted = gg.grade_classifier(region, bundles.grading).grade
    by_default = gg.explanation_sanity(region, bundles.grading, "res3")
    assert "gradcam-res3" in by_default.rank_correlations
    assert by_default == gg.explanation_sanity(region, bundles.grading, ["res3"], class_to_explain=predicted)
    assert "HGG" in seen, "one image at least is of a class that is not the first"


def test_sanity_makes_layers_random(bundles: Bundles, region: Any) -> None:
    checked = gg.explanation_sanity(region, bundles.grading, ["res3"], class_to_explain="HGG")
    assert set(checked.rank_correlations) == set(checked.similarities) == {"gradcam-res3", "guided-backprop"}
    assert len(checked.randomized_layers) == len(checked.rank_correlations["guided-backprop"]) == 9
    assert checked.rank_correlations["guided-backprop"][-1] < 0.999
