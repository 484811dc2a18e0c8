# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What comes back: the kind that was given, in its place, with shared memory where the library allows it."""

import gc
import importlib.util
import os
import pickle
import shutil
import sys
import threading
import time
import warnings
from typing import Any, Callable

import numpy as np
import numpy.typing as npt
import pytest

import gliomagrading as gg
from gliomagrading import images

from conftest import SEQUENCES, Head, write_dicom

sitk = pytest.importorskip("SimpleITK")


def standardized(head: Head) -> npt.NDArray[np.float32]:
    """The truth by NumPy."""
    array = head.arrays[0].astype(np.float64)
    inside = array[head.brain > 0]
    return np.where(head.brain > 0, (array - inside.mean()) / inside.std(), 0.0).astype(np.float32)


def test_every_kind_gives_the_same_voxels(head: Head) -> None:
    truth = standardized(head)
    itk = pytest.importorskip("itk")
    by_numpy = gg.masked_standardize(head.arrays[0], head.brain)
    by_own = gg.masked_standardize(head.as_own(head.arrays[0]), head.as_own(head.brain))
    by_sitk = gg.masked_standardize(head.as_sitk(head.arrays[0]), head.as_sitk(head.brain))
    by_itk = gg.masked_standardize(head.as_itk(head.arrays[0]), head.as_itk(head.brain))
    assert type(by_numpy) is np.ndarray and isinstance(by_own, gg.Image) and isinstance(by_sitk, sitk.Image)
    assert type(by_itk).__name__ == "itkImageF3"
    np.testing.assert_allclose(by_numpy, truth, atol=2e-5)
    for other in (by_own.array, sitk.GetArrayFromImage(by_sitk), itk.array_view_from_image(by_itk)):
        np.testing.assert_array_equal(by_numpy, other)


def test_geometry_and_dictionary_are_kept(head: Head) -> None:
    itk = pytest.importorskip("itk")
    given = head.as_sitk(head.arrays[0])
    got = gg.masked_standardize(given, head.as_sitk(head.brain))
    assert got.GetSpacing() == given.GetSpacing() and got.GetOrigin() == given.GetOrigin()
    assert got.GetDirection() == given.GetDirection() and got.GetMetaData("institution") == "nowhere"
    image = head.as_itk(head.arrays[0])
    region = image.GetLargestPossibleRegion()
    region.SetIndex([3, -2, 5])
    image.SetRegions(region)
    mask = head.as_itk(head.brain)
    mask.SetRegions(region)
    out = gg.masked_standardize(image, mask)
    assert list(out.GetSpacing()) == list(image.GetSpacing()) and list(out.GetOrigin()) == list(image.GetOrigin())
    np.testing.assert_array_equal(itk.array_from_matrix(out.GetDirection()), head.direction)
    assert list(out.GetLargestPossibleRegion().GetIndex()) == [3, -2, 5]
    assert out.GetMetaDataDictionary()["institution"] == "nowhere"


def test_a_start_index_becomes_an_origin_in_simpleitk(head: Head) -> None:
    array = np.array(head.arrays[0])
    image = head.as_sitk(array)
    region, details = gg.bounding_box_roi(image, head.as_sitk(head.tumour), output_size=0, margin=2.0, details=True)
    start = [int(np.ceil(v)) for v in details.region_index]
    assert region.GetOrigin() == pytest.approx(image.TransformIndexToPhysicalPoint(start), abs=1e-9)
    x, y, z = region.GetSize()
    here = array[start[2] : start[2] + z, start[1] : start[1] + y, start[0] : start[0] + x]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(region), here)


def memory_of(image: Any, mask: bool = False) -> int:
    volume, _ = images.to_volume(image, "the image", mask=mask)
    return int(volume.get_address())


def test_inputs_share_their_memory(head: Head) -> None:
    itk = pytest.importorskip("itk")
    array = head.arrays[0]
    address = array.__array_interface__["data"][0]
    assert memory_of(array) == address
    assert memory_of(head.as_own(array)) == address
    assert memory_of(head.brain, mask=True) == head.brain.__array_interface__["data"][0]
    inside = head.brain.astype(bool)
    assert memory_of(inside, mask=True) == inside.__array_interface__["data"][0]
    image = head.as_sitk(array)
    assert memory_of(image) == sitk.GetArrayViewFromImage(image).__array_interface__["data"][0]
    other = head.as_itk(array)
    assert memory_of(other) == itk.array_view_from_image(other).__array_interface__["data"][0]
    vector = np.stack(head.arrays, axis=-1)
    assert memory_of(vector) == vector.__array_interface__["data"][0]


def test_outputs_of_numpy_are_views(head: Head) -> None:
    out = gg.masked_standardize(head.arrays[0], head.brain)
    keeper: Any = out.base
    assert not out.flags.owndata and out.flags.writeable
    assert out.__array_interface__["data"][0] == keeper.volume.get_address()


def test_the_input_may_go_first_and_the_filter_too(head: Head) -> None:
    makes: list[Any] = [head.as_sitk, head.as_own, np.array]
    if importlib.util.find_spec("itk") is not None:
        makes.append(head.as_itk)
    for make in makes:
        volume, _ = images.to_volume(make(head.arrays[1]), "the image")
        gc.collect()
        filler = [np.full(head.arrays[1].shape, 7.0, np.float32) for _ in range(8)]
        np.testing.assert_array_equal(images.array_of(volume), head.arrays[1])
        del filler
    outputs = [gg.masked_standardize(np.array(head.arrays[0]), head.brain) for _ in range(4)]
    gc.collect()
    filler = [np.full(head.arrays[1].shape, 7.0, np.float32) for _ in range(8)]
    for out in outputs:
        np.testing.assert_allclose(out, standardized(head), atol=2e-5)
    del filler


def test_an_image_of_itk_outlives_what_made_it(head: Head) -> None:
    """The filter and the volume are gone; a pipeline of itk goes on with it."""
    itk = pytest.importorskip("itk")
    outputs = [gg.masked_standardize(head.as_itk(np.array(head.arrays[0])), head.as_itk(head.brain)) for _ in range(4)]
    gc.collect()
    filler = [np.full(head.arrays[0].shape, 7.0, np.float32) for _ in range(8)]
    for out in outputs:
        np.testing.assert_allclose(itk.array_from_image(out), standardized(head), atol=2e-5)
        twice = itk.multiply_image_filter(out, constant=2.0)
        np.testing.assert_allclose(itk.array_from_image(twice), 2.0 * standardized(head), atol=4e-5)
    del filler


def test_the_voxels_of_itk_live_as_long_as_a_filter_has_them(head: Head) -> None:
    """Also where the Python object of the image is gone, and where a filter took its voxels over."""
    itk = pytest.importorskip("itk")

    def outputs() -> "tuple[list[Any], list[Any]]":
        filters, taken = [], []
        for image in (
            head.as_own(np.array(head.arrays[0])).to_itk(),
            gg.masked_standardize(head.as_itk(head.arrays[0]), head.as_itk(head.brain)),
        ):
            filters.append(itk.MedianImageFilter[type(image), type(image)].New(image))
            filters[-1].SetRadius(0)
            taken.append(itk.change_information_image_filter(image, output_spacing=[1.0, 1.0, 1.0], change_spacing=True))
        return filters, taken

    filters, taken = outputs()
    gc.collect()
    filler = [np.full(head.arrays[0].shape, 7.0, np.float32) for _ in range(16)]
    for filter, other, want in zip(filters, taken, (head.arrays[0], standardized(head))):
        filter.Update()
        for image in (filter.GetOutput(), other):
            np.testing.assert_allclose(itk.array_from_image(image), want, atol=2e-5)
    del filler


LAYOUTS: list[Callable[[Any], Any]] = [
    np.asfortranarray,
    lambda a: a[::-1],
    lambda a: a.astype(">f4"),
    lambda a: a.astype(np.float16),
    lambda a: a > 100,
    lambda a: a.astype(np.int16),
    lambda a: a.astype(np.int32),
    lambda a: a.astype(">u2"),
    lambda a: a.astype(np.float64),
]


@pytest.mark.parametrize("change", LAYOUTS)
@pytest.mark.parametrize("components", [1, 4])
def test_an_own_image_of_any_layout_becomes_the_others(head: Head, change: Any, components: int) -> None:
    itk = pytest.importorskip("itk")
    array = change(head.arrays[0] if components == 1 else np.stack(head.arrays, axis=-1))
    own = head.as_own(array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(own.to_sitk()), array)
    np.testing.assert_array_equal(itk.array_from_image(own.to_itk()), array)
    assert list(itk.size(own.to_itk())) == list(array.shape[2::-1]) == list(own.to_sitk().GetSize())


def test_a_direction_of_nine_numbers(head: Head) -> None:
    itk = pytest.importorskip("itk")
    flat = gg.Image(head.arrays[0], direction=head.as_sitk(head.arrays[0]).GetDirection())
    np.testing.assert_allclose(flat.direction, head.direction)
    assert flat.to_sitk().GetDirection() == pytest.approx(head.direction.ravel())
    np.testing.assert_allclose(itk.array_from_matrix(flat.to_itk().GetDirection()), head.direction)
    with pytest.raises(gg.InputError, match="direction has 4 numbers; give 9"):
        gg.Image(head.arrays[0], direction=np.eye(2))
    assert flat == flat and flat != head.as_own(head.arrays[0])


def test_images_without_voxels(head: Head) -> None:
    labels = sitk.Cast(head.as_sitk(head.brain), sitk.sitkLabelUInt8)
    with pytest.raises(gg.InputError, match="label map of SimpleITK"):
        gg.brain_mask(labels)
    itk = pytest.importorskip("itk")
    for image in (itk.Image[itk.F, 3].New(), itk.VectorImage[itk.F, 3].New()):
        with pytest.raises(gg.InputError, match=r"has no voxels; Allocate\(\)"):
            gg.brain_mask(image)


def test_a_bare_mask_lies_on_the_grid_of_its_image(head: Head, tmp_path: Any) -> None:
    paths = [tmp_path / f"{name}.nrrd" for name in SEQUENCES]
    for file, array in zip(paths, head.arrays):
        sitk.WriteImage(head.as_sitk(array), str(file))
    path = paths[0]
    want = gg.masked_standardize(head.arrays[0], head.brain)
    np.testing.assert_array_equal(gg.masked_standardize(path, head.brain).array, want)
    prepared = gg.sequence_preparation(paths, head.brain, bias_correction="none")
    np.testing.assert_allclose(prepared.image.array[..., 0], want, atol=1e-6)
    for image in (head.as_sitk(head.arrays[0]), path):
        with pytest.raises(gg.InputError, match=r"The array of the mask has the shape \(\d+, \d+, \d+\); the image that it belongs to has"):
            gg.masked_standardize(image, head.brain.transpose(2, 1, 0))


def test_a_series_is_named_by_its_uid(tmp_path: Any) -> None:
    folder = tmp_path / "dicom"
    for number in (1, 2):
        write_dicom(folder, f"1.2.3.{number}", np.full((3, 16, 16), number, np.int16))
    # Those of other folders may stand beside it.
    uids: list[Any] = ["1.2.3.2", ["1.2.3.2"], ["1.2.3.9", "1.2.3.2", "1.2.3.8"]]
    for uid in uids:
        assert gg.Image.read(folder, series=uid).array.max() == 2
    write_dicom(tmp_path / "alone", "1.2.3.4", np.full((3, 16, 16), 4, np.int16))
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkInt16), str(tmp_path / "a.nrrd"))
    for path in (tmp_path / "alone", tmp_path / "a.nrrd"):
        with pytest.raises(gg.InputError, match="has the series '1.2.3.9'; leave it out, or check the UID"):
            gg.Image.read(path, series=["1.2.3.9", "1.2.3.8"])


def test_metadata_without_a_text_is_left_out(tmp_path: Any) -> None:
    """NRRD's measurement frame is a list of lists in ITK's dictionary."""
    voxels = np.arange(1, 25, dtype="<f4").tobytes()
    head = (
        "NRRD0005\ntype: float\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "kinds: domain domain domain\nencoding: raw\nendian: little\nspace origin: (0,0,0)\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\n"
        "scanner:=none\n\n"
    )
    (tmp_path / "a.nrrd").write_bytes(head.encode() + voxels)
    said = gg.Image.read(tmp_path / "a.nrrd").metadata
    assert said["scanner"] == "none" and not any("UNKNOWN" in value for value in said.values())


def test_other_threads_run_while_a_file_is_read(head: Head, tmp_path: Any) -> None:
    path = str(tmp_path / "noise.nii.gz")
    noise = np.random.default_rng(2).integers(0, 4000, (96, 96, 96)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(noise), path, True)
    gg.Image.read(path)
    turns, stop = [0], threading.Event()

    def turn() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)

    def turns_in(work: Callable[[], object]) -> bool:
        here = turns[0]
        work()
        return turns[0] > here

    thread = threading.Thread(target=turn)
    before = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(1000.0)  # this thread keeps Python's lock until it gives it away
        works: list[Callable[[], object]] = [lambda: gg.Image.read(path), lambda: images.to_vector_volume([noise] * 4, 1e-3)]
        for work in works:
            assert any(turns_in(work) for _ in range(20)), "on a busy machine the other thread may miss its turn once"
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()


@pytest.mark.parametrize("kind", ["numpy", "own"])
def test_a_result_never_is_the_input(head: Head, kind: str) -> None:
    """Writing to a result leaves the input as it was, also where a filter has nothing to do."""
    make: Any = np.array if kind == "numpy" else head.as_own
    image, brain = make(np.array(head.arrays[0])), make(np.array(head.brain))
    results = [
        gg.brain_mask(image),
        gg.n4_bias_correction_chain(image, brain, maximum_number_of_iterations=(1,)),
        gg.masked_standardize(image, brain),
        gg.bounding_box_roi(image, brain, margin=0, output_size=0),
        gg.bounding_box_roi(image, make(np.ones_like(head.brain)), margin=0, output_size=0),
        gg.replace_tumour(image, make(np.array(head.tumour)), brain),
    ]
    for result in results:
        assert not np.shares_memory(np.asarray(result), np.asarray(image)) and not np.shares_memory(np.asarray(result), np.asarray(brain))


def test_an_image_gives_back_its_memory(head: Head) -> None:
    array = np.array(head.arrays[0])
    volume, _ = images.to_volume(array, "the image")
    with pytest.raises(ValueError):
        array.resize((1, 1, 1))  # NumPy refuses while someone has the buffer
    del volume
    gc.collect()
    array.resize((1, 1, 1))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(">f4"),
        lambda a: a.astype(np.float64),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: a[::-1][::-1],
    ],
)
def test_arrays_of_every_layout(head: Head, change: Any) -> None:
    want = gg.masked_standardize(head.arrays[0], head.brain)
    np.testing.assert_array_equal(gg.masked_standardize(change(head.arrays[0]), change(head.brain)), want)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float16])
def test_every_number_becomes_float(head: Head, kind: Any) -> None:
    array = np.rint(head.arrays[0] / 10).astype(kind)
    want = gg.masked_standardize(array.astype(np.float32), head.brain)
    np.testing.assert_array_equal(gg.masked_standardize(array, head.brain), want)


def test_a_mask_is_what_is_not_zero_and_labels_keep_their_numbers(head: Head) -> None:
    want = gg.masked_standardize(head.arrays[0], head.brain)
    np.testing.assert_array_equal(gg.masked_standardize(head.arrays[0], head.brain * 0.5), want)
    np.testing.assert_array_equal(gg.masked_standardize(head.arrays[0], head.brain.astype(np.int16) * 1000), want)
    labels = head.brain.astype(np.int16) * 7 + head.tumour
    got = gg.masked_standardize(head.arrays[0], labels, use_mask_label=True, mask_label=8)
    np.testing.assert_array_equal(got, gg.masked_standardize(head.arrays[0], head.tumour))
    with pytest.raises(ValueError, match="0 to 255"):
        gg.masked_standardize(head.arrays[0], labels * 100, use_mask_label=True)
    with pytest.raises(TypeError, match="integers"):
        gg.masked_standardize(head.arrays[0], labels * 0.5, use_mask_label=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
def test_a_mask_is_finite_and_not_negative(head: Head, value: float) -> None:
    mask = head.brain.astype(np.float32)
    mask[1, 2, 3] = mask[2, 2, 3] = value
    said = rf"The voxel \(1, 2, 3\) \(z, y, x\) of the mask is {value}; a mask is 0 outside and above 0 inside"
    makes: list[Any] = [np.array, np.float64, head.as_own, head.as_sitk]
    for make in makes:
        with pytest.raises(ValueError, match=said):
            gg.masked_standardize(make(head.arrays[0]), make(mask))
    if value == -1.0:
        with pytest.raises(ValueError, match="is -1; a mask"):
            gg.bounding_box_roi(head.arrays[0], mask.astype(np.int16))


def test_labels_of_a_file_are_whole_numbers(head: Head, tmp_path: Any) -> None:
    own = head.as_own(head.arrays[0])
    for value in (0.5, -1.0, 256.0, 1e30):
        labels = head.brain.astype(np.float32)
        labels[1, 2, 3] = value
        sitk.WriteImage(head.as_sitk(labels), str(tmp_path / "labels.mha"))
        with pytest.raises(ValueError, match=r"The voxel \(1, 2, 3\) .* of the mask is .*; labels are whole numbers of 0 to 255"):
            gg.masked_standardize(own, tmp_path / "labels.mha", use_mask_label=True)


def test_masked_arrays_are_refused(head: Head) -> None:
    """Their mask would be lost."""
    array = np.ma.masked_array(head.arrays[0], mask=head.brain == 0)
    number = int(np.count_nonzero(head.brain == 0))
    said = rf"{number} voxels of the array are masked .*array\.filled\(0\)"
    with pytest.raises(TypeError, match=said):
        gg.brain_mask(array)
    with pytest.raises(TypeError, match=said):
        gg.brain_mask(head.as_own(array))
    with pytest.raises(TypeError, match=said):
        gg.masked_standardize(head.arrays[0], np.ma.masked_array(head.brain, mask=head.brain == 0))
    with pytest.raises(TypeError, match=said):
        gg.brain_mask([head.arrays[0], array])
    with pytest.raises(TypeError, match="masked"):
        gg.sequence_order(np.ma.stack([array] * 4, axis=-1), head.brain)
    np.testing.assert_array_equal(gg.brain_mask(np.ma.masked_array(head.arrays[0])), gg.brain_mask(head.arrays[0]))


def test_a_fraction_is_no_index(head: Head) -> None:
    with pytest.raises(gg.InputError, match="index is 1.5; give a whole number"):
        gg.brain_mask(gg.Image(head.arrays[0], index=(1.5, 0, 0)))  # type: ignore[arg-type]


def test_images_that_are_none(head: Head) -> None:
    with pytest.raises(TypeError, match="SimpleITK, itk"):
        gg.brain_mask(object())
    with pytest.raises(TypeError, match="complex"):
        gg.brain_mask(head.arrays[0].astype(complex))
    with pytest.raises(gg.InputError, match="dimensions"):
        gg.brain_mask(head.arrays[0][0])
    with pytest.raises(gg.InputError, match="empty"):
        gg.brain_mask(head.arrays[0][:0])
    with pytest.raises(gg.InputError, match="dimensions"):
        gg.brain_mask(head.as_sitk(head.arrays[0])[:, :, 3])
    turned = np.eye(3)
    turned[1, 2] = np.nan
    odd: list[tuple[dict[str, Any], str]] = [
        ({"spacing": (-3, 3, 3)}, "spacing holds -3.0.* above 0"),
        ({"spacing": (3, np.inf, 3)}, "spacing holds inf"),
        ({"origin": (0, np.nan, 0)}, "origin holds nan"),
        ({"direction": turned}, "direction holds nan"),
    ]
    for geometry, says in odd:
        with pytest.raises(gg.InputError, match=says):
            gg.brain_mask(gg.Image(head.arrays[0], **geometry))
    singular = gg.Image(head.arrays[0], direction=np.zeros((3, 3)))
    with pytest.raises(gg.InputError, match="direction"):
        gg.brain_mask(singular)


def test_a_path_gives_an_image(head: Head, tmp_path: Any) -> None:
    path = tmp_path / "t1.nrrd"
    sitk.WriteImage(head.as_sitk(head.arrays[0]), str(path))
    mask = gg.brain_mask(path)
    assert isinstance(mask, gg.Image) and mask.spacing == pytest.approx(head.spacing)
    np.testing.assert_allclose(mask.direction, head.direction, atol=1e-6)
    np.testing.assert_array_equal(mask.array, gg.brain_mask(head.as_own(head.arrays[0])).array)
    with pytest.raises(ValueError, match="There is no file"):
        gg.brain_mask(str(tmp_path / "absent.nii.gz"))
    np.testing.assert_array_equal(gg.brain_mask(os.fsencode(path)).array, mask.array)
    np.testing.assert_array_equal(gg.Image.read(os.fsencode(path)).array, head.arrays[0])
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.nrrd")
    shutil.copy(path, odd)
    readers: list[Any] = [gg.brain_mask, gg.Image.read, gg.Model]
    for read in readers:
        with pytest.raises(gg.InputError, match=r"The path '.*/\\udce9.nrrd' is not in UTF-8; rename the file"):
            read(odd)


def test_an_own_image_becomes_the_others(head: Head) -> None:
    itk = pytest.importorskip("itk")
    own = head.as_own(head.arrays[0])
    again = own.to_sitk()
    assert again.GetOrigin() == pytest.approx(head.origin) and again.GetMetaData("institution") == "nowhere"
    np.testing.assert_array_equal(itk.array_view_from_image(own.to_itk()), own.array)
    copied = pickle.loads(pickle.dumps(gg.brain_mask(own)))
    np.testing.assert_array_equal(copied.array, gg.brain_mask(own).array)
    image, details = gg.masked_standardize(head.as_itk(head.arrays[0]), head.as_itk(head.brain), details=True)
    image_again, details_again = pickle.loads(pickle.dumps((image, details)))
    assert details_again == details
    np.testing.assert_array_equal(itk.array_view_from_image(image_again), itk.array_view_from_image(image))
    np.testing.assert_array_equal(np.asarray(own), own.array)


def test_vector_images_of_every_kind(head: Head) -> None:
    itk = pytest.importorskip("itk")
    vector = np.stack(head.arrays, axis=-1)
    want = gg.masked_standardize(vector, head.brain)
    assert want.shape == vector.shape
    composed = sitk.Compose([head.as_sitk(a) for a in head.arrays])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(gg.masked_standardize(composed, head.as_sitk(head.brain))), want)
    listed = gg.masked_standardize([head.as_itk(a) for a in head.arrays], head.as_itk(head.brain))
    assert listed.GetNumberOfComponentsPerPixel() == 4
    np.testing.assert_array_equal(itk.array_view_from_image(listed), want)
    named = gg.masked_standardize({name: head.arrays[i] for i, name in reversed(list(enumerate(SEQUENCES)))}, head.brain)
    np.testing.assert_array_equal(named, want)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gg.masked_standardize(composed, head.as_sitk(head.brain))


def test_images_on_different_grids_are_refused(head: Head) -> None:
    moved = head.as_sitk(head.arrays[1])
    moved.SetOrigin((0.0, 0.0, 0.0))
    with pytest.raises(gg.InputError, match="one grid"):
        gg.brain_mask([head.as_sitk(head.arrays[0]), moved])
