# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Types of filters.py: a path gives gliomagrading.Image, every other image its own kind.

import dataclasses
from typing import Any, Generic, Literal, Optional, TypeVar, Union, overload
from collections.abc import Mapping, Sequence

from ._progress import Progress
from .images import Image, PathLike
from .model import Model

T = TypeVar("T")
Paths = Union[PathLike, Sequence[PathLike], Mapping[str, PathLike]]
Rescaling = Literal["none", "mean", "range"]
StandardizeMode = Literal["mask", "image"]
RegionMode = Literal["cube", "stretch", "letterbox"]
MarginUnit = Literal["voxels", "millimetres"]
EmptyMaskPolicy = Literal["exception", "whole_image"]
Interpolation = Literal["linear", "nearest_neighbor"]
Border = Literal["repeat", "extrapolate"]
Blend = Literal["gaussian", "constant"]
TileBorder = Literal["constant", "reflect", "replicate", "circular"]
Energy = Literal["absolute", "positive"]

GEOMETRY_TOLERANCE: float

def _number(value: str, choices: Any, name: str) -> int: ...
def _class_number(label: Union[None, int, str], names: Sequence[str]) -> int: ...
def _classified(volume: Any, model: Model, progress: Progress = ...) -> Any: ...
def _update(run: Any, progress: Progress, title: str) -> None: ...
@dataclasses.dataclass(frozen=True)
class BrainMaskDetails:
    volume: float
    dice: float
    number_of_faces: int
    not_skull_stripped: bool
    sequences_disagree: bool

@dataclasses.dataclass(frozen=True, eq=False)
class N4Details(Generic[T]):
    log_bias_field: T
    status: str
    iterations_per_level: tuple[int, ...]
    convergence_per_level: tuple[float, ...]
    log_field_range: tuple[float, float]
    fit_seconds: float
    number_of_non_positive_voxels: int
    scale: float
    shift: float

@dataclasses.dataclass(frozen=True)
class StandardizeDetails:
    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    count: tuple[int, ...]
    lower_bound: tuple[float, ...]
    upper_bound: tuple[float, ...]
    background_value: tuple[float, ...]

@dataclasses.dataclass(frozen=True)
class RegionDetails:
    box_index: tuple[int, int, int]
    box_size: tuple[int, int, int]
    region_index: tuple[float, float, float]
    region_size: tuple[float, float, float]
    number_of_components: int
    number_of_voxels: int
    found: bool
    empty: bool
    tiny: bool
    touches_border: bool
    several_foci: bool
    leaves_image: bool

@dataclasses.dataclass(frozen=True)
class ReplacementDetails:
    filled_share: float

@dataclasses.dataclass(frozen=True, eq=False)
class SegmentationDetails(Generic[T]):
    probabilities: Optional[T]
    number_of_computed_tiles: int

@dataclasses.dataclass(frozen=True)
class Classification:
    grade: str
    probabilities: Mapping[str, float]
    logits: Mapping[str, float]

@dataclasses.dataclass(frozen=True, eq=False)
class GradCAMMaps(Generic[T]):
    maps: Mapping[str, T]
    supports: Mapping[str, T]
    has_positive_cell: Mapping[str, bool]
    explained_class: str
    probabilities: Mapping[str, float]

@dataclasses.dataclass(frozen=True, eq=False)
class GuidedMap(Generic[T]):
    map: T
    support: T
    explained_class: str
    probabilities: Mapping[str, float]
    executed_relus: int
    guided_relus: int
    other_activations: tuple[str, ...]

@dataclasses.dataclass(frozen=True)
class Quality:
    total_energy: float
    tumour_share: float
    tumour_chance: float
    tumour_ratio: float
    tumour_coverage: float
    peak_in_tumour: float
    tumour_rank_accuracy: float
    border_share: float
    border_chance: float
    border_ratio: float
    outside_share: float
    gini: float
    sequence_shares: tuple[float, ...]
    sequence_tumour_shares: tuple[float, ...]
    sequence_tumour_ratios: tuple[float, ...]
    sequence_peaks_in_tumour: tuple[float, ...]
    sequence_tumour_rank_accuracies: tuple[float, ...]
    sequence_border_shares: tuple[float, ...]
    sequence_border_ratios: tuple[float, ...]
    sequence_outside_shares: tuple[float, ...]
    sequence_ginis: tuple[float, ...]
    labels: tuple[float, ...]
    label_shares: tuple[float, ...]
    label_chances: tuple[float, ...]
    label_ratios: tuple[float, ...]
    empty_map: bool
    tumour_missed: bool
    border_dominates: bool
    support_misses_tumour: bool

@overload
def brain_mask(
    image: Paths,
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def brain_mask(
    image: Union[Sequence[T], Mapping[str, T]],
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def brain_mask(
    image: T,
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def brain_mask(
    image: Paths,
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, BrainMaskDetails]: ...
@overload
def brain_mask(
    image: Union[Sequence[T], Mapping[str, T]],
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, BrainMaskDetails]: ...
@overload
def brain_mask(
    image: T,
    *,
    minimum_volume: float = ...,
    maximum_volume: float = ...,
    maximum_number_of_faces: int = ...,
    minimum_face_fraction: float = ...,
    minimum_dice: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, BrainMaskDetails]: ...
@overload
def n4_bias_correction_chain(
    image: PathLike,
    mask: Any = ...,
    confidence: Any = ...,
    *,
    shrink_factors: Union[int, Sequence[int]] = ...,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    number_of_fitting_levels: Union[int, Sequence[int], None] = ...,
    maximum_number_of_iterations: Sequence[int] = ...,
    convergence_threshold: float = ...,
    bias_field_full_width_at_half_maximum: float = ...,
    wiener_filter_noise: float = ...,
    number_of_histogram_bins: int = ...,
    number_of_control_points: Union[int, Sequence[int]] = ...,
    spline_order: int = ...,
    maximum_seconds: float = ...,
    rescaling: Rescaling = ...,
    device: str = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def n4_bias_correction_chain(
    image: T,
    mask: Any = ...,
    confidence: Any = ...,
    *,
    shrink_factors: Union[int, Sequence[int]] = ...,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    number_of_fitting_levels: Union[int, Sequence[int], None] = ...,
    maximum_number_of_iterations: Sequence[int] = ...,
    convergence_threshold: float = ...,
    bias_field_full_width_at_half_maximum: float = ...,
    wiener_filter_noise: float = ...,
    number_of_histogram_bins: int = ...,
    number_of_control_points: Union[int, Sequence[int]] = ...,
    spline_order: int = ...,
    maximum_seconds: float = ...,
    rescaling: Rescaling = ...,
    device: str = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def n4_bias_correction_chain(
    image: PathLike,
    mask: Any = ...,
    confidence: Any = ...,
    *,
    shrink_factors: Union[int, Sequence[int]] = ...,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    number_of_fitting_levels: Union[int, Sequence[int], None] = ...,
    maximum_number_of_iterations: Sequence[int] = ...,
    convergence_threshold: float = ...,
    bias_field_full_width_at_half_maximum: float = ...,
    wiener_filter_noise: float = ...,
    number_of_histogram_bins: int = ...,
    number_of_control_points: Union[int, Sequence[int]] = ...,
    spline_order: int = ...,
    maximum_seconds: float = ...,
    rescaling: Rescaling = ...,
    device: str = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, N4Details[Image]]: ...
@overload
def n4_bias_correction_chain(
    image: T,
    mask: Any = ...,
    confidence: Any = ...,
    *,
    shrink_factors: Union[int, Sequence[int]] = ...,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    number_of_fitting_levels: Union[int, Sequence[int], None] = ...,
    maximum_number_of_iterations: Sequence[int] = ...,
    convergence_threshold: float = ...,
    bias_field_full_width_at_half_maximum: float = ...,
    wiener_filter_noise: float = ...,
    number_of_histogram_bins: int = ...,
    number_of_control_points: Union[int, Sequence[int]] = ...,
    spline_order: int = ...,
    maximum_seconds: float = ...,
    rescaling: Rescaling = ...,
    device: str = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, N4Details[T]]: ...
@overload
def n4_bias_field_correction(
    image: PathLike,
    maskImage: Any = ...,
    convergenceThreshold: float = ...,
    maximumNumberOfIterations: Sequence[int] = ...,
    biasFieldFullWidthAtHalfMaximum: float = ...,
    wienerFilterNoise: float = ...,
    numberOfHistogramBins: int = ...,
    numberOfControlPoints: Sequence[int] = ...,
    splineOrder: int = ...,
    useMaskLabel: bool = ...,
    maskLabel: int = ...,
    *,
    progress: Progress = ...,
) -> Image: ...
@overload
def n4_bias_field_correction(
    image: T,
    maskImage: Any = ...,
    convergenceThreshold: float = ...,
    maximumNumberOfIterations: Sequence[int] = ...,
    biasFieldFullWidthAtHalfMaximum: float = ...,
    wienerFilterNoise: float = ...,
    numberOfHistogramBins: int = ...,
    numberOfControlPoints: Sequence[int] = ...,
    splineOrder: int = ...,
    useMaskLabel: bool = ...,
    maskLabel: int = ...,
    *,
    progress: Progress = ...,
) -> T: ...
@overload
def masked_standardize(
    image: Paths,
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def masked_standardize(
    image: Union[Sequence[T], Mapping[str, T]],
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def masked_standardize(
    image: T,
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def masked_standardize(
    image: Paths,
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, StandardizeDetails]: ...
@overload
def masked_standardize(
    image: Union[Sequence[T], Mapping[str, T]],
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, StandardizeDetails]: ...
@overload
def masked_standardize(
    image: T,
    mask: Any = ...,
    *,
    use_mask_label: bool = ...,
    mask_label: int = ...,
    mode: StandardizeMode = ...,
    outside_value: float = ...,
    lower_quantile: float = ...,
    upper_quantile: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, StandardizeDetails]: ...
@overload
def bounding_box_roi(
    image: Paths,
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def bounding_box_roi(
    image: Union[Sequence[T], Mapping[str, T]],
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def bounding_box_roi(
    image: T,
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def bounding_box_roi(
    image: Paths,
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, RegionDetails]: ...
@overload
def bounding_box_roi(
    image: Union[Sequence[T], Mapping[str, T]],
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, RegionDetails]: ...
@overload
def bounding_box_roi(
    image: T,
    mask: Any,
    *,
    mode: RegionMode = ...,
    margin: float = ...,
    margin_unit: MarginUnit = ...,
    output_size: int = ...,
    minimum_component_fraction: float = ...,
    largest_component_only: bool = ...,
    tiny_number_of_voxels: int = ...,
    smoothing: bool = ...,
    empty_mask_policy: EmptyMaskPolicy = ...,
    interpolation: Interpolation = ...,
    border: Border = ...,
    outside_value: Union[float, Sequence[float]] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, RegionDetails]: ...
@overload
def replace_tumour(
    sequences: Paths,
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def replace_tumour(
    sequences: Union[Sequence[T], Mapping[str, T]],
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def replace_tumour(
    sequences: T,
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def replace_tumour(
    sequences: Paths,
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, ReplacementDetails]: ...
@overload
def replace_tumour(
    sequences: Union[Sequence[T], Mapping[str, T]],
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, ReplacementDetails]: ...
@overload
def replace_tumour(
    sequences: T,
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = ...,
    softness: float = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, ReplacementDetails]: ...
@overload
def torch_segmentation(
    image: Paths,
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> Image: ...
@overload
def torch_segmentation(
    image: Union[Sequence[T], Mapping[str, T]],
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def torch_segmentation(
    image: T,
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[False] = ...,
    progress: Progress = ...,
) -> T: ...
@overload
def torch_segmentation(
    image: Paths,
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[Image, SegmentationDetails[Image]]: ...
@overload
def torch_segmentation(
    image: Union[Sequence[T], Mapping[str, T]],
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, SegmentationDetails[T]]: ...
@overload
def torch_segmentation(
    image: T,
    model: Union[Model, PathLike],
    mask: Any = ...,
    *,
    generate_probabilities: bool = ...,
    tile_size: Union[int, Sequence[int]] = ...,
    tile_memory: int = ...,
    overlap: float = ...,
    blend: Blend = ...,
    sigma_scale: float = ...,
    border: TileBorder = ...,
    maximum_memory: int = ...,
    outside_values: Sequence[float] = ...,
    details: Literal[True],
    progress: Progress = ...,
) -> tuple[T, SegmentationDetails[T]]: ...
def grade_classifier(
    region: Any,
    model: Union[Model, PathLike],
    *,
    progress: Progress = ...,
) -> Classification: ...
@overload
def grad_cam(
    region: Paths,
    model: Union[Model, PathLike],
    layers: Union[None, str, Sequence[str]] = ...,
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GradCAMMaps[Image]: ...
@overload
def grad_cam(
    region: Union[Sequence[T], Mapping[str, T]],
    model: Union[Model, PathLike],
    layers: Union[None, str, Sequence[str]] = ...,
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GradCAMMaps[T]: ...
@overload
def grad_cam(
    region: T,
    model: Union[Model, PathLike],
    layers: Union[None, str, Sequence[str]] = ...,
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GradCAMMaps[T]: ...
@overload
def guided_backpropagation(
    region: Paths,
    model: Union[Model, PathLike],
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    allow_other_activations: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GuidedMap[Image]: ...
@overload
def guided_backpropagation(
    region: Union[Sequence[T], Mapping[str, T]],
    model: Union[Model, PathLike],
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    allow_other_activations: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GuidedMap[T]: ...
@overload
def guided_backpropagation(
    region: T,
    model: Union[Model, PathLike],
    *,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    allow_other_activations: bool = ...,
    reference: Any = ...,
    progress: Progress = ...,
) -> GuidedMap[T]: ...
def explanation_quality(
    map: Any,
    tumour_mask: Any,
    brain_mask: Any = ...,
    support: Any = ...,
    region_labels: Any = ...,
    *,
    energy_mode: Energy = ...,
    border_width: float = ...,
    measure_border: bool = ...,
    progress: Progress = ...,
) -> Quality: ...
