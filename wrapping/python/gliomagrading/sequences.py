# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What comes before a model: four sequences as it wants them, on one grid, each called as it looks."""

import dataclasses
from typing import Any, Generic, Literal, Optional, TypeVar, Union, overload
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from . import _library
from ._documentation import documented
from ._parameters import real_number, set_parameters
from ._progress import Progress
from .filters import GEOMETRY_TOLERANCE, _number, _update
from .images import SEQUENCES, Image, PathLike, named_sequences, to_volume

T = TypeVar("T")
BiasCorrection = Literal["n4", "none"]
Standardization = Literal["brain", "image"]


@dataclasses.dataclass(frozen=True, eq=False)
class Preparation(Generic[T]):
    """What sequence_preparation() makes."""

    #: The standardized sequences, one component each.
    image: T
    brain_mask: T
    #: In ml.
    brain_volume: float
    #: Two sequences overlap badly.
    sequences_disagree: bool


@overload
def sequence_preparation(
    images: Union[Sequence[PathLike], Mapping[str, PathLike]],
    brain_mask: Any = ...,
    *,
    bias_correction: BiasCorrection = ...,
    shrink_factor: int = ...,
    standardization: Standardization = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    outside_value: float = ...,
    geometry_tolerance: float = ...,
    progress: Progress = ...,
) -> Preparation[Image]: ...
@overload
def sequence_preparation(
    images: Union[Sequence[T], Mapping[str, T]],
    brain_mask: Any = ...,
    *,
    bias_correction: BiasCorrection = ...,
    shrink_factor: int = ...,
    standardization: Standardization = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    outside_value: float = ...,
    geometry_tolerance: float = ...,
    progress: Progress = ...,
) -> Preparation[T]: ...
@overload
def sequence_preparation(
    images: T,
    brain_mask: Any = ...,
    *,
    bias_correction: BiasCorrection = ...,
    shrink_factor: int = ...,
    standardization: Standardization = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    outside_value: float = ...,
    geometry_tolerance: float = ...,
    progress: Progress = ...,
) -> Preparation[T]: ...
@documented("SequencePreparationFilter")
def sequence_preparation(
    images: Any,
    brain_mask: Any = None,
    *,
    bias_correction: BiasCorrection = "n4",
    shrink_factor: int = 4,
    standardization: Standardization = "brain",
    lower_quantile: float = 0.0,
    upper_quantile: float = 1.0,
    outside_value: float = 0.0,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
    progress: Progress = None,
) -> Any:
    """T1, T1c, T2 and FLAIR as one standardized image of four components, and the brain.

    A model's manifest says what it was trained on: bias_correction, standardization, the quantiles and outside_value.
    """
    named, wrap = named_sequences(images)
    run = _library.core().SequencePreparation()
    first: Any = None
    for name, image in named.items():
        volume, wrap_this = to_volume(image, name)
        first = volume if first is None else first
        wrap = wrap or wrap_this
        run.set_sequence(name, volume)
    assert wrap is not None  # there are four
    if brain_mask is not None:
        run.set_brain_mask(to_volume(brain_mask, "the brain mask", mask=True, like=first)[0])
    run.set_geometry_tolerance(real_number(geometry_tolerance, "geometry_tolerance"))
    set_parameters(
        run,
        bias_correction=_number(bias_correction, BiasCorrection, "bias_correction"),
        shrink_factor=shrink_factor,
        standardization=_number(standardization, Standardization, "standardization"),
        lower_quantile=lower_quantile,
        upper_quantile=upper_quantile,
        outside_value=outside_value,
    )
    _update(run, progress, "preparation")
    return Preparation(wrap(run.get_prepared()), wrap(run.get_brain()), run.get_brain_volume(), run.get_sequences_disagree())


@dataclasses.dataclass(frozen=True, eq=False)
class Registration(Generic[T]):
    """What rigid_registration() found: point of the image = rotation @ point of the reference + translation, in mm."""

    #: The image in the reference's space.
    image: T
    rotation: npt.NDArray[np.float64]
    translation: tuple[float, float, float]
    #: Of the images as they lie, and after: the negative mutual information in nats.
    initial_metric: float
    final_metric: float
    #: Share of the reference's brain that the image covers.
    overlap: float
    #: Mean distance in mm by which the reference's brain moves.
    mean_displacement: float
    iterations_per_level: tuple[int, ...]


@overload
def rigid_registration(
    image: PathLike,
    reference: Any,
    reference_mask: Any = ...,
    output_grid: Any = ...,
    *,
    ignore_zeros: bool = ...,
    number_of_histogram_bins: int = ...,
    number_of_samples: int = ...,
    seed: int = ...,
    maximum_number_of_iterations: int = ...,
    mask_dilation: float = ...,
    minimum_overlap: float = ...,
    minimum_mutual_information: float = ...,
    progress: Progress = ...,
) -> Registration[Image]: ...
@overload
def rigid_registration(
    image: T,
    reference: Any,
    reference_mask: Any = ...,
    output_grid: Any = ...,
    *,
    ignore_zeros: bool = ...,
    number_of_histogram_bins: int = ...,
    number_of_samples: int = ...,
    seed: int = ...,
    maximum_number_of_iterations: int = ...,
    mask_dilation: float = ...,
    minimum_overlap: float = ...,
    minimum_mutual_information: float = ...,
    progress: Progress = ...,
) -> Registration[T]: ...
@documented("RigidRegistrationFilter")
def rigid_registration(
    image: Any,
    reference: Any,
    reference_mask: Any = None,
    output_grid: Any = None,
    *,
    ignore_zeros: bool = True,
    number_of_histogram_bins: int = 32,
    number_of_samples: int = 30000,
    seed: int = 1729,
    maximum_number_of_iterations: int = 100,
    mask_dilation: float = 3.0,
    minimum_overlap: float = 0.8,
    minimum_mutual_information: float = 0.1,
    progress: Progress = None,
) -> Any:
    """Brings a sequence into the space of another of the same head, rigidly, by mutual information.

    output_grid: an image whose grid the result gets, in the reference's space; default the reference.
    """
    volume, wrap = to_volume(image, "the image")
    run = _library.core().RigidRegistration()
    run.set_image(volume)
    reference_volume = to_volume(reference, "the reference")[0]
    run.set_reference(reference_volume)
    if reference_mask is not None:
        run.set_reference_mask(to_volume(reference_mask, "the mask", mask=True, like=reference_volume)[0])
    if output_grid is not None:
        run.set_output_grid(to_volume(output_grid, "the output's grid")[0])
    set_parameters(
        run,
        ignore_zeros=ignore_zeros,
        number_of_histogram_bins=number_of_histogram_bins,
        number_of_samples=number_of_samples,
        seed=seed,
        maximum_number_of_iterations=maximum_number_of_iterations,
        mask_dilation=mask_dilation,
        minimum_overlap=minimum_overlap,
        minimum_mutual_information=minimum_mutual_information,
    )
    _update(run, progress, "registration")
    values = [float(v) for v in run.get_transform()]
    return Registration(
        wrap(run.get_moved()),
        np.array(values[:9]).reshape(3, 3),
        (values[9], values[10], values[11]),
        run.get_initial_metric(),
        run.get_final_metric(),
        run.get_overlap(),
        run.get_mean_displacement(),
        tuple(int(n) for n in run.get_iterations_per_level()),
    )


@overload
def rigid_resample(
    image: PathLike, reference: Any, transform: Optional[Registration[Any]] = ..., *, ignore_zeros: bool = ..., progress: Progress = ...
) -> Image: ...
@overload
def rigid_resample(
    image: T, reference: Any, transform: Optional[Registration[Any]] = ..., *, ignore_zeros: bool = ..., progress: Progress = ...
) -> T: ...
@documented("RigidResampleImageFilter")
def rigid_resample(
    image: Any,
    reference: Any,
    transform: Optional[Registration[Any]] = None,
    *,
    ignore_zeros: bool = False,
    progress: Progress = None,
) -> Any:
    """An image on the grid of another one, smoothed first where that one is coarser; by the transform of a registration."""
    volume, wrap = to_volume(image, "the image")
    run = _library.core().RigidResample()
    run.set_image(volume)
    run.set_reference(to_volume(reference, "the reference")[0])
    if transform is not None:
        run.set_transform([*(float(v) for v in np.ravel(transform.rotation)), *transform.translation])
    set_parameters(run, ignore_zeros=ignore_zeros)
    _update(run, progress, "resampling")
    return wrap(run.get_moved())


@dataclasses.dataclass(frozen=True)
class SequenceOrder:
    """What sequence_order() found."""

    #: What the image of each name looks like.
    looks_like: Mapping[str, str]
    #: Pairs of names whose images are one.
    duplicates: tuple[tuple[str, str], ...]
    #: Near 0: cerebrospinal fluid is bright here alone.
    fluid_ranks: Mapping[str, float]
    #: Above 0: T1c is enhanced against T1.
    enhancement: float

    @property
    def looks_right(self) -> bool:
        return not self.duplicates and all(name == like for name, like in self.looks_like.items())


@documented("SequenceOrderCalculator")
def sequence_order(images: Any, brain_mask: Any) -> SequenceOrder:
    """Are T1, T1c, T2 and FLAIR what they are called?"""
    named, _ = named_sequences(images)
    run = _library.core().SequenceOrder()
    volumes = [to_volume(named[name], name)[0] for name in SEQUENCES]
    for number, volume in enumerate(volumes):
        run.set_sequence(number, volume)
    run.set_mask(to_volume(brain_mask, "the brain mask", mask=True, like=volumes[0])[0])
    run.compute()
    numbers = [int(n) for n in run.get_duplicates()]
    return SequenceOrder(
        dict(zip(SEQUENCES, run.get_looks_like())),
        tuple((SEQUENCES[a], SEQUENCES[b]) for a, b in zip(numbers[0::2], numbers[1::2])),
        dict(zip(SEQUENCES, run.get_fluid_ranks())),
        run.get_enhancement(),
    )
