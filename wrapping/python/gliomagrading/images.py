# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Images of SimpleITK, itk and NumPy, and this package's own, on their way to ITK and back.

A package that the user did not import is never imported: an image of it cannot exist. Voxels are not copied where the
type allows it: float32 for images, uint8 and bool for masks, C-contiguous and in the machine's byte order. Other
numbers become float32 (which keeps integers up to 2**24), masks become "not 0".
"""

import dataclasses
import os
import sys
from typing import Any, Callable, Optional, TypeVar, Union
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from . import _library
from ._parameters import name_list, whole_number
from .errors import InputError

Array = npt.NDArray[Any]
PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

SEQUENCES = ("T1", "T1c", "T2", "FLAIR")


@dataclasses.dataclass(eq=False)  # whether arrays are equal is no yes or no
class Image:
    """An array with its place in space; what functions give back for a path.

    The array's axes are (z, y, x), with the components behind them where there are several. Everything else is in
    ITK's order (x, y, z), in mm and patient coordinates (LPS); index is that of the first voxel. The direction is three
    rows, or 9 numbers.
    """

    array: Array
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: Array = dataclasses.field(default_factory=lambda: np.eye(3))
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    index: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        direction = np.asarray(self.direction)
        if direction.size != 9:
            raise InputError(f"The direction has {direction.size} numbers; give 9, three rows of three.")
        self.direction = direction.reshape(3, 3)

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Array:
        return np.asarray(self.array, dtype=dtype) if not copy else np.array(self.array, dtype=dtype)

    @classmethod
    def read(cls, path: PathLike, mask: bool = False, series: Union[str, Sequence[str]] = ()) -> "Image":
        """Reads a file in a format of ITK, or a folder of one DICOM series.

        series: the UID of the one to take, or those of many folders.
        """
        name, wanted = path_text(path), name_list(series, "series")
        volume = _read(name, os.path.basename(name), mask, wanted)
        if wanted:
            used = _library.core().Volume.used_series(name, os.path.basename(name), wanted)
            if not any(uid in used for uid in wanted):  # the others may belong to other folders
                refuse_unused(wanted, used)
        _library.pass_on_warnings()
        return _own(volume)

    def to_sitk(self) -> Any:
        """As an image of SimpleITK, which is imported. Its index starts at 0: the origin moves there."""
        import SimpleITK

        return _to_sitk(SimpleITK, self)

    def to_itk(self) -> Any:
        """As an image of itk, which is imported."""
        import itk

        return _to_itk(itk, self)


def path_text(path: PathLike) -> str:
    """A path as C++ takes it."""
    text = os.fsdecode(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"The path {text!r} is not in UTF-8; rename the file, or give a link to it.") from None
    return text


def _read(name: str, role: str, mask: bool, series: Sequence[str]) -> Any:
    return _library.core().Volume.read(name, role, mask, list(series))


def refuse_unused(series: Sequence[str], used: Sequence[str]) -> None:
    """A UID that names nothing would leave another series in its place."""
    for uid in series:
        if uid not in used:
            raise InputError(f"No DICOM folder that was given has the series {uid!r}; leave it out, or check the UID.")


Wrap = Callable[[Any], Any]
T = TypeVar("T")


class _Held(np.ndarray):
    """A view that keeps alive whoever owns its memory."""

    owner: Any = None


class _Voxels:
    """The memory of a volume of C++ for NumPy, which keeps this object, and with it the volume, alive."""

    def __init__(self, volume: Any) -> None:
        self.volume = volume
        components = volume.get_number_of_components()
        shape = tuple(int(n) for n in reversed(volume.get_size())) + ((components,) if components > 1 else ())
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": "|u1" if volume.is_mask() else np.dtype(np.float32).str,
            "data": (volume.get_address(), False),
        }


def array_of(volume: Any) -> Array:
    """The voxels of a volume of C++, not copied."""
    return np.asarray(_Voxels(volume))


def _own(volume: Any) -> Image:
    spacing, origin, index = volume.get_spacing(), volume.get_origin(), volume.get_index()
    return Image(
        array_of(volume),
        (spacing[0], spacing[1], spacing[2]),
        (origin[0], origin[1], origin[2]),
        np.array(volume.get_direction()).reshape(3, 3),
        dict(volume.get_metadata()),
        (index[0], index[1], index[2]),
    )


def _ready_for_others(array: Array) -> Array:
    """C-contiguous, in the machine's byte order, and numbers that SimpleITK and itk have; the same memory where it is so."""
    array = np.asarray(array)
    if array.dtype.kind == "b":
        return np.ascontiguousarray(array).view(np.uint8)
    known = array.dtype.kind != "f" or array.dtype.itemsize in (4, 8)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=") if known else np.float32)


def _to_sitk(sitk: Any, image: Image) -> Any:
    array = _ready_for_others(image.array)
    made = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
    made.SetSpacing([float(v) for v in image.spacing])
    made.SetDirection([float(v) for v in np.asarray(image.direction).ravel()])
    shift = np.asarray(image.direction) @ (np.asarray(image.index, float) * np.asarray(image.spacing, float))
    made.SetOrigin([float(v) for v in np.asarray(image.origin, float) + shift])
    for key, value in image.metadata.items():
        made.SetMetaData(key, value)
    return made


def _to_itk(itk: Any, image: Image, dictionary: Any = None) -> Any:
    # A copy: itk would keep the array with the Python object alone, and a filter may keep the voxels when even the
    # image is gone (ChangeInformationImageFilter).
    array = _ready_for_others(image.array)
    if array.ndim == 4:
        array = np.ascontiguousarray(array, np.float32)  # itk would read other bits as these
        made = itk.image_from_array(array, ttype=(itk.VectorImage[itk.F, 3],))
    else:
        made = itk.image_from_array(array)
    if any(image.index):
        region = made.GetLargestPossibleRegion()
        region.SetIndex([int(v) for v in image.index])
        made.SetRegions(region)
    made.SetSpacing([float(v) for v in image.spacing])
    made.SetOrigin([float(v) for v in image.origin])
    made.SetDirection(itk.matrix_from_array(np.ascontiguousarray(image.direction, float)))
    if dictionary is None:
        dictionary = made.GetMetaDataDictionary()
        for key, value in image.metadata.items():
            dictionary[key] = value
    made.SetMetaDataDictionary(dictionary)
    return made


def _is_sitk(image: Any) -> bool:
    module = sys.modules.get("SimpleITK")
    return module is not None and hasattr(module, "Image") and isinstance(image, module.Image)


def _is_itk(image: Any) -> bool:
    return "itk" in sys.modules and type(image).__module__.split(".")[0] == "itk" and hasattr(image, "GetLargestPossibleRegion")


def _from_sitk(image: Any) -> Image:
    sitk = sys.modules["SimpleITK"]
    if "label" in image.GetPixelIDTypeAsString():  # SimpleITK ends the process when it is asked for the voxels
        raise InputError("The image is a label map of SimpleITK, which has no voxels; give SimpleITK.Cast(image, SimpleITK.sitkUInt8).")
    if image.GetDimension() != 3:
        raise InputError(f"The image has {image.GetDimension()} dimensions; give a volume of 3.")
    array = sitk.GetArrayViewFromImage(image).view(_Held)
    array.owner = image
    return Image(
        array,
        image.GetSpacing(),
        image.GetOrigin(),
        np.array(image.GetDirection()).reshape(3, 3),
        {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()},
    )


def _from_itk(image: Any) -> Image:
    itk = sys.modules["itk"]
    image.Update()
    dimension = image.GetImageDimension()
    if dimension != 3:
        raise InputError(f"The image has {dimension} dimensions; give a volume of 3.")
    if image.GetBufferPointer() is None:
        raise InputError("The image of itk has no voxels; Allocate() it, or update the filter that makes it.")
    array = itk.array_view_from_image(image).view(_Held)
    array.owner = image
    dictionary = image.GetMetaDataDictionary()
    metadata = {}
    for key in dictionary.GetKeys():
        value = dictionary[key]
        if isinstance(value, str):
            metadata[key] = value
    spacing, origin = image.GetSpacing(), image.GetOrigin()
    index = image.GetBufferedRegion().GetIndex()
    return Image(
        array,
        (spacing[0], spacing[1], spacing[2]),
        (origin[0], origin[1], origin[2]),
        itk.array_from_matrix(image.GetDirection()),
        metadata,
        (index[0], index[1], index[2]),
    )


def describe(image: Any) -> tuple[Image, Wrap]:
    """What an image of any kind is, and how to make one of its kind."""
    array = image.array if isinstance(image, Image) else image
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        masked = np.count_nonzero(np.ma.getmaskarray(array))
        raise TypeError(f"{masked} voxels of the array are masked (numpy.ma); fill them: array.filled(0).")
    if isinstance(image, Image):
        return image, _own
    if _is_sitk(image):
        sitk = sys.modules["SimpleITK"]
        return _from_sitk(image), lambda volume: _to_sitk(sitk, _own(volume))
    if _is_itk(image):
        itk = sys.modules["itk"]
        # The dictionary lies in the image: the image is kept for it.
        return _from_itk(image), lambda volume: _to_itk(itk, _own(volume), image.GetMetaDataDictionary())
    if isinstance(image, np.ndarray):
        return Image(image), array_of
    raise TypeError(
        f"An image of type {type(image).__module__}.{type(image).__qualname__} is not known; give one of SimpleITK, itk, "
        "NumPy or gliomagrading.Image, or the path of a file."
    )


def real_array(array: Array) -> Array:
    """The same numbers as float32, C-contiguous and in the machine's byte order; the same memory where they are."""
    if array.dtype.kind not in "buif":
        raise TypeError(f"The voxels are of type {array.dtype}; give integers or real numbers.")
    return np.asarray(np.ascontiguousarray(array, dtype=np.float32))


def _refuse(odd: Array, array: Array, role: str, wanted: str) -> None:
    """An error that names the first odd voxel."""
    if odd.any():
        first = tuple(int(n) for n in np.unravel_index(int(odd.argmax()), odd.shape))
        raise InputError(f"The voxel {first} (z, y, x) of {role} is {array[first]}; {wanted}.")


def mask_array(array: Array, role: str) -> Array:
    """1 byte a voxel: uint8 and bool stay what they are, of other numbers 1 where they are above 0."""
    if array.dtype.kind not in "buif":
        raise TypeError(f"The mask is of type {array.dtype}; give integers or booleans.")
    if array.dtype.kind in "if":
        _refuse(~np.isfinite(array) | (array < 0), array, role, "a mask is 0 outside and above 0 inside")
    if array.dtype not in (np.uint8, np.bool_):
        array = array != 0
    return np.ascontiguousarray(array).view(np.uint8)


def label_array(array: Array) -> Array:
    """The same labels as uint8; the same memory where they are."""
    if array.dtype.kind not in "bui":
        raise TypeError(f"The labels are of type {array.dtype}; give integers.")
    if array.dtype.itemsize > 1 or array.dtype.kind == "i":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise InputError(f"The labels go from {low} to {high}; give 0 to 255.")
        array = array.astype(np.uint8)
    return np.ascontiguousarray(array).view(np.uint8)


def _held(array: Array, source: Array) -> Array:
    """The array with the owner of its memory's source, which a view of it does not take along."""
    owner = getattr(source, "owner", None)
    if owner is None:
        return array
    held = array.view(_Held)
    held.owner = owner
    return held


def _volume(image: Image, mask: bool, role: str, labels: bool = False) -> Any:
    array = np.asarray(image.array)
    most = 3 if mask else 4
    if not 3 <= array.ndim <= most:
        raise InputError(
            f"The array of {role} has {array.ndim} dimensions; give (z, y, x)" + ("." if mask else " or (z, y, x, component).")
        )
    if 0 in array.shape:
        raise InputError(f"The array of {role} is empty: its shape is {array.shape}.")
    if labels:
        ready = label_array(array)
    else:
        ready = mask_array(array, role) if mask else real_array(array)
    size = [int(n) for n in ready.shape[2::-1]]
    components = int(ready.shape[3]) if ready.ndim == 4 else 1
    volume = _library.core().Volume(_held(ready, image.array), mask, size, components)
    volume.set_geometry(
        [float(v) for v in image.spacing],
        [float(v) for v in image.origin],
        [float(v) for v in np.asarray(image.direction, float).ravel()],
    )
    volume.set_index([whole_number(v, "index") for v in image.index])
    volume.set_metadata(dict(image.metadata))
    return volume


def is_path(image: Any) -> bool:
    return isinstance(image, (str, bytes, os.PathLike))


def to_volume(
    image: Any, role: str, mask: bool = False, labels: bool = False, series: Sequence[str] = (), like: Any = None
) -> tuple[Any, Wrap]:
    """A volume of C++ of one image or path, and how to give back the same kind.

    A mask is 1 where the image is not 0, or keeps its numbers where they are labels. A bare array lies on the grid of the
    volume that it is like.
    """
    if like is not None and isinstance(image, np.ndarray):
        image = _on_grid_of(image, like, role)
    if is_path(image) and labels:
        read = _own(_read(path_text(image), role, False, series))
        array = read.array
        _refuse(~((array >= 0) & (array <= 255)) | (array != np.rint(array)), array, role, "labels are whole numbers of 0 to 255")
        image = dataclasses.replace(read, array=array.astype(np.uint8))
    if is_path(image):
        return _read(path_text(image), role, mask, series), _own
    described, wrap = describe(image)
    return _volume(described, mask or labels, role, labels), wrap


def named_sequences(images: Any) -> tuple[dict[str, Any], Optional[Wrap]]:
    """T1, T1c, T2 and FLAIR out of a list of four, a mapping by name, or one image of four components.

    What gives results the kind of that one image comes with them.
    """
    if isinstance(images, Mapping):
        names = {name.lower(): name for name in SEQUENCES}
        found: dict[str, Any] = {}
        for key, image in images.items():
            if str(key).lower() not in names:
                raise InputError(f"The sequence {key!r} is not known; give T1, T1c, T2 and FLAIR.")
            found[names[str(key).lower()]] = image
        missing = [name for name in SEQUENCES if name not in found]
        if missing:
            raise InputError(f"The sequence {missing[0]} is missing; give T1, T1c, T2 and FLAIR.")
        return {name: found[name] for name in SEQUENCES}, None
    if isinstance(images, (list, tuple)):
        if len(images) != len(SEQUENCES):
            raise InputError(f"There are {len(images)} images; give four, in the order T1, T1c, T2, FLAIR.")
        return dict(zip(SEQUENCES, images)), None
    if is_path(images):
        raise InputError("One path was given; give four, in the order T1, T1c, T2, FLAIR.")
    described, wrap = describe(images)
    if described.array.ndim != 4 or described.array.shape[3] != len(SEQUENCES):
        raise InputError("One image was given that has not four components; give T1, T1c, T2 and FLAIR.")
    array = np.asarray(described.array)
    return {name: dataclasses.replace(described, array=array[..., i]) for i, name in enumerate(SEQUENCES)}, wrap


def to_vector_volume(images: Any, tolerance: float) -> tuple[Any, Wrap]:
    """A volume of one or several components: of one image, or of a list or mapping of images on one grid."""
    if isinstance(images, Mapping):
        images = list(named_sequences(images)[0].values())
    if not isinstance(images, (list, tuple)):
        return to_volume(images, "the image")
    if not images:
        raise InputError("There is no image; give at least one.")
    volumes: list[Any] = []
    wrap: Wrap = _own
    for i, image in enumerate(images):
        volume, wrap_this = to_volume(image, f"image {i + 1}")
        wrap = wrap_this if i == 0 else wrap
        volumes.append(volume)
    core = _library.core()
    return core.Volume.compose(core.VolumeList(volumes), tolerance), wrap


def _on_grid_of(array: Array, volume: Any, role: str) -> Image:
    size = tuple(int(n) for n in reversed(volume.get_size()))
    if array.shape[:3] != size:
        raise InputError(f"The array of {role} has the shape {array.shape}; the image that it belongs to has {size} (z, y, x).")
    return dataclasses.replace(_own(volume), array=array, metadata={})
