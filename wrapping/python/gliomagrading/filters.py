# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The filters of GliomaGrading as functions: images in, images of the same kind out.

An image is one of SimpleITK, itk, NumPy, gliomagrading.Image, or the path of a file (which gives gliomagrading.Image).
Where several sequences are wanted: one image with components, a list of images on one grid, or a mapping by name.
"""

import dataclasses
from typing import Any, Literal, Union, get_args
from collections.abc import Mapping, Sequence

import numpy as np

from . import _library
from ._documentation import documented
from ._parameters import lists, name_list, set_parameters, whole_number
from ._progress import Progress, Reporter
from .errors import InputError
from .images import Image, PathLike, Wrap, describe, is_path, to_vector_volume, to_volume
from .model import Model, as_model

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

GEOMETRY_TOLERANCE = 1e-3


def _number(value: str, choices: Any, name: str) -> int:
    """Number of an enumeration's value in C++."""
    names = get_args(choices)
    if value not in names:
        raise InputError(f"{name} is {value!r}; give one of {', '.join(names)}.")
    return names.index(value)


def _update(run: Any, progress: Progress, title: str) -> None:
    with Reporter(progress, title) as reporter:
        try:
            run.update(reporter.callback)
        finally:
            _library.pass_on_warnings()


@dataclasses.dataclass(frozen=True)
class BrainMaskDetails:
    """What brain_mask() found beside the mask."""

    #: Volume of the mask in ml.
    volume: float
    #: Smallest Dice overlap of two sequences; 1 if there is only one.
    dice: float
    #: Faces of the image on which the mask lies.
    number_of_faces: int
    #: The volume is none of a brain, or the mask lies on several faces of the image.
    not_skull_stripped: bool
    #: Two sequences overlap badly.
    sequences_disagree: bool


@documented("BrainMaskFilter")
def brain_mask(
    image: Any,
    *,
    minimum_volume: float = 700.0,
    maximum_volume: float = 2000.0,
    maximum_number_of_faces: int = 2,
    minimum_face_fraction: float = 0.05,
    minimum_dice: float = 0.9,
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """The brain of skull-stripped sequences: 1 where any of them is not 0.

    With details the mask and BrainMaskDetails. A bare array has voxels of 1 mm.
    """
    volume, wrap = to_vector_volume(image, GEOMETRY_TOLERANCE)
    run = _library.core().BrainMask()
    run.set_image(volume)
    set_parameters(
        run,
        minimum_volume=minimum_volume,
        maximum_volume=maximum_volume,
        maximum_number_of_faces=maximum_number_of_faces,
        minimum_face_fraction=minimum_face_fraction,
        minimum_dice=minimum_dice,
    )
    _update(run, progress, "brain mask")
    mask = wrap(run.get_mask())
    if not details:
        return mask
    status = run.get_status()
    return mask, BrainMaskDetails(run.get_volume(), run.get_dice(), run.get_number_of_faces(), bool(status & 1), bool(status & 2))


@dataclasses.dataclass(frozen=True, eq=False)
class N4Details:
    """What n4_bias_correction_chain() found beside the corrected image."""

    #: Natural logarithm of the field, an image like the input.
    log_bias_field: Any
    #: "converged", "stopped at the maximum number of iterations", ...
    status: str
    iterations_per_level: tuple[int, ...]
    convergence_per_level: tuple[float, ...]
    #: Lowest and highest log field at the voxels that were fitted.
    log_field_range: tuple[float, float]
    fit_seconds: float
    number_of_non_positive_voxels: int
    #: The map of rescaling, output = scale * input / exp(field) + shift.
    scale: float
    shift: float


@documented("N4BiasCorrectionChainFilter")
def n4_bias_correction_chain(
    image: Any,
    mask: Any = None,
    confidence: Any = None,
    *,
    shrink_factors: Union[int, Sequence[int]] = 4,
    use_mask_label: bool = False,
    mask_label: int = 1,
    number_of_fitting_levels: Union[int, Sequence[int], None] = None,
    maximum_number_of_iterations: Sequence[int] = (50, 50, 50, 50),
    convergence_threshold: float = 0.001,
    bias_field_full_width_at_half_maximum: float = 0.15,
    wiener_filter_noise: float = 0.01,
    number_of_histogram_bins: int = 200,
    number_of_control_points: Union[int, Sequence[int]] = 4,
    spline_order: int = 3,
    maximum_seconds: float = 0.0,
    rescaling: Rescaling = "none",
    device: str = "cpu",
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """Shrinks, fits N4's bias field, evaluates it at full resolution and divides the image by it.

    There are as many fitting levels as maximum_number_of_iterations has entries, unless number_of_fitting_levels says
    otherwise for an axis. With details the image and N4Details.
    """
    volume, wrap = to_volume(image, "the image")
    run = _library.core().N4BiasCorrectionChain()
    run.set_image(volume)
    if mask is not None:
        run.set_mask(to_volume(mask, "the mask", mask=True, labels=use_mask_label, like=volume)[0])
    if confidence is not None:
        run.set_confidence(to_volume(confidence, "the confidence", like=volume)[0])
    iterations = lists(maximum_number_of_iterations)  # an iterator gives them once
    levels = len(iterations) if number_of_fitting_levels is None else number_of_fitting_levels
    set_parameters(
        run,
        shrink_factors=shrink_factors,
        use_mask_label=use_mask_label,
        mask_label=mask_label,
        number_of_fitting_levels=levels,
        maximum_number_of_iterations=iterations,
        convergence_threshold=convergence_threshold,
        bias_field_full_width_at_half_maximum=bias_field_full_width_at_half_maximum,
        wiener_filter_noise=wiener_filter_noise,
        number_of_histogram_bins=number_of_histogram_bins,
        number_of_control_points=number_of_control_points,
        spline_order=spline_order,
        maximum_seconds=maximum_seconds,
        rescaling=_number(rescaling, Rescaling, "rescaling"),
        device=device,
    )
    _update(run, progress, "N4")
    corrected = wrap(run.get_corrected())
    if not details:
        return corrected
    return corrected, N4Details(
        wrap(run.get_log_bias_field()),
        run.get_status(),
        tuple(int(n) for n in run.get_iterations_per_level()),
        tuple(run.get_convergence_per_level()),
        (run.get_log_field_minimum(), run.get_log_field_maximum()),
        run.get_fit_seconds(),
        run.get_number_of_non_positive_voxels(),
        run.get_scale(),
        run.get_shift(),
    )


def n4_bias_field_correction(
    image: Any,
    maskImage: Any = None,
    convergenceThreshold: float = 0.001,
    maximumNumberOfIterations: Sequence[int] = (50, 50, 50, 50),
    biasFieldFullWidthAtHalfMaximum: float = 0.15,
    wienerFilterNoise: float = 0.01,
    numberOfHistogramBins: int = 200,
    numberOfControlPoints: Sequence[int] = (4, 4, 4),
    splineOrder: int = 3,
    useMaskLabel: bool = True,
    maskLabel: int = 1,
    *,
    progress: Progress = None,
) -> Any:
    """What sitk.N4BiasFieldCorrection() does, with its arguments and defaults, faster: nothing is shrunk.

    As there, a mask counts where it is maskLabel, or with useMaskLabel=False where it is not 0; without a mask every
    voxel counts (here: that is above 0). To shrink before the fit and keep the full resolution, and for Otsu's
    threshold in place of a mask: n4_bias_correction_chain().

    After the same iterations (convergenceThreshold=0) the two differ by some 1e-5. With a threshold, as by default, each
    ends at the iteration in which it finds it reached, which need not be the same one; every iteration multiplies the
    whole image by a factor to which the threshold is blind. N4's result is then one up to a constant factor: 1.09 with 0.2 %
    around it in a phantom's T1. Standardization takes the factor away.
    """
    if maskImage is None:
        image = Image.read(image) if is_path(image) else image
        maskImage = np.ones(np.shape(describe(image)[0].array), np.uint8)
    return n4_bias_correction_chain(
        image,
        maskImage,
        shrink_factors=1,
        use_mask_label=useMaskLabel,
        mask_label=maskLabel,
        maximum_number_of_iterations=maximumNumberOfIterations,
        convergence_threshold=convergenceThreshold,
        bias_field_full_width_at_half_maximum=biasFieldFullWidthAtHalfMaximum,
        wiener_filter_noise=wienerFilterNoise,
        number_of_histogram_bins=numberOfHistogramBins,
        number_of_control_points=numberOfControlPoints,
        spline_order=splineOrder,
        progress=progress,
    )


@dataclasses.dataclass(frozen=True)
class StandardizeDetails:
    """The statistics of masked_standardize(), one number a component."""

    mean: tuple[float, ...]
    standard_deviation: tuple[float, ...]
    count: tuple[int, ...]
    lower_bound: tuple[float, ...]
    upper_bound: tuple[float, ...]
    #: What an intensity of 0 has become.
    background_value: tuple[float, ...]


@documented("MaskedStandardizeFilter")
def masked_standardize(
    image: Any,
    mask: Any = None,
    *,
    use_mask_label: bool = False,
    mask_label: int = 1,
    mode: StandardizeMode = "mask",
    outside_value: float = 0.0,
    lower_quantile: float = 0.0,
    upper_quantile: float = 1.0,
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """Zero mean and unit variance (1/n) for each component, with the statistics of the mask or of the whole image.

    With details the image and StandardizeDetails.
    """
    volume, wrap = to_vector_volume(image, GEOMETRY_TOLERANCE)
    run = _library.core().MaskedStandardize()
    run.set_image(volume)
    if mask is not None:
        run.set_mask(to_volume(mask, "the mask", mask=True, labels=use_mask_label, like=volume)[0])
    set_parameters(
        run,
        use_mask_label=use_mask_label,
        mask_label=mask_label,
        mode=_number(mode, StandardizeMode, "mode"),
        outside_value=outside_value,
        lower_quantile=lower_quantile,
        upper_quantile=upper_quantile,
    )
    _update(run, progress, "standardize")
    standardized = wrap(run.get_standardized())
    if not details:
        return standardized
    return standardized, StandardizeDetails(
        tuple(run.get_mean()),
        tuple(run.get_standard_deviation()),
        tuple(int(n) for n in run.get_count()),
        tuple(run.get_lower_bound()),
        tuple(run.get_upper_bound()),
        tuple(run.get_background_value()),
    )


@dataclasses.dataclass(frozen=True)
class RegionDetails:
    """Where bounding_box_roi() cut; indices and sizes along x, y, z."""

    #: First index and size of the box in voxels of the image.
    box_index: tuple[int, int, int]
    box_size: tuple[int, int, int]
    #: Lower corner and size of the region in continuous indices of the image.
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


@documented("BoundingBoxROIFilter")
def bounding_box_roi(
    image: Any,
    mask: Any,
    *,
    mode: RegionMode = "cube",
    margin: float = 10.0,
    margin_unit: MarginUnit = "voxels",
    output_size: int = 96,
    minimum_component_fraction: float = 0.05,
    largest_component_only: bool = False,
    tiny_number_of_voxels: int = 64,
    smoothing: bool = False,
    empty_mask_policy: EmptyMaskPolicy = "exception",
    interpolation: Interpolation = "linear",
    border: Border = "repeat",
    outside_value: Union[float, Sequence[float]] = (),
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """The region around a mask, resampled to a cube of voxels; output_size=0 keeps the image's own voxels.

    With details the region and RegionDetails.
    """
    volume, wrap = to_vector_volume(image, GEOMETRY_TOLERANCE)
    run = _library.core().BoundingBoxROI()
    run.set_image(volume)
    run.set_mask(to_volume(mask, "the mask", mask=True, like=volume)[0])
    set_parameters(
        run,
        mode=_number(mode, RegionMode, "mode"),
        margin=margin,
        margin_unit=_number(margin_unit, MarginUnit, "margin_unit"),
        output_size=output_size,
        minimum_component_fraction=minimum_component_fraction,
        largest_component_only=largest_component_only,
        tiny_number_of_voxels=tiny_number_of_voxels,
        smoothing=smoothing,
        empty_mask_policy=_number(empty_mask_policy, EmptyMaskPolicy, "empty_mask_policy"),
        interpolation=_number(interpolation, Interpolation, "interpolation"),
        border=_number(border, Border, "border"),
        outside_value=outside_value,
    )
    _update(run, progress, "region")
    region = wrap(run.get_region_image())
    if not details:
        return region
    box, where, status = [int(v) for v in run.get_box()], run.get_region(), run.get_status()
    return region, RegionDetails(
        (box[0], box[1], box[2]),
        (box[3], box[4], box[5]),
        (where[0], where[1], where[2]),
        (where[3], where[4], where[5]),
        run.get_number_of_components(),
        run.get_number_of_voxels(),
        *(bool(status & bit) for bit in (1, 2, 4, 8, 16, 32)),
    )


@dataclasses.dataclass(frozen=True)
class ReplacementDetails:
    """What replace_tumour() found beside the image."""

    #: Share of the tumour for which the other half has no healthy tissue: there the brain's mean was taken.
    filled_share: float


@documented("TumourReplacementFilter")
def replace_tumour(
    sequences: Any,
    tumour_mask: Any,
    brain_mask: Any,
    *,
    reach: float = 3.0,
    softness: float = 3.0,
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """Healthy tissue of the brain's other half in the tumour's place.

    What a grader says of the result does not come from the tumour. The mirror between the halves is found in the first sequence and holds
    for all. With details the image and ReplacementDetails. In a bare array x runs from right to left, with voxels of 1 mm.
    """
    volume, wrap = to_vector_volume(sequences, GEOMETRY_TOLERANCE)
    run = _library.core().TumourReplacement()
    run.set_image(volume)
    run.set_tumour_mask(to_volume(tumour_mask, "the tumour mask", mask=True, like=volume)[0])
    run.set_brain_mask(to_volume(brain_mask, "the brain mask", mask=True, like=volume)[0])
    set_parameters(run, reach=reach, softness=softness)
    _update(run, progress, "replace tumour")
    replaced = wrap(run.get_replaced())
    return (replaced, ReplacementDetails(run.get_filled_share())) if details else replaced


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentationDetails:
    """What torch_segmentation() gives beside the labels."""

    #: One component a class; None unless generate_probabilities.
    probabilities: Any
    #: Tiles that ran through the model.
    number_of_computed_tiles: int


@documented("TorchSegmentationFilter")
def torch_segmentation(
    image: Any,
    model: Union[Model, PathLike],
    mask: Any = None,
    *,
    generate_probabilities: bool = False,
    tile_size: Union[int, Sequence[int]] = 0,
    tile_memory: int = 2048,
    overlap: float = 0.25,
    blend: Blend = "gaussian",
    sigma_scale: float = 0.125,
    border: TileBorder = "constant",
    maximum_memory: int = 0,
    outside_values: Sequence[float] = (),
    details: bool = False,
    progress: Progress = None,
) -> Any:
    """Labels of a dense model, run over the prepared image tile by tile.

    With details the labels and SegmentationDetails.
    """
    volume, wrap = to_vector_volume(image, GEOMETRY_TOLERANCE)
    run = _library.core().TorchSegmentation()
    run.set_image(volume)
    run.set_model(as_model(model)._model)
    if mask is not None:
        run.set_mask(to_volume(mask, "the mask", mask=True, like=volume)[0])
    set_parameters(
        run,
        generate_probabilities=generate_probabilities,
        tile_size=tile_size,
        tile_memory=tile_memory,
        overlap=overlap,
        blend=_number(blend, Blend, "blend"),
        sigma_scale=sigma_scale,
        border=_number(border, TileBorder, "border"),
        maximum_memory=maximum_memory,
        outside_values=outside_values,
    )
    _update(run, progress, "segmentation")
    labels = wrap(run.get_labels())
    if not details:
        return labels
    return labels, SegmentationDetails(
        wrap(run.get_probabilities()) if generate_probabilities else None, run.get_number_of_computed_tiles()
    )


@dataclasses.dataclass(frozen=True)
class Classification:
    """The grade of a region. Research use only."""

    grade: str
    probabilities: Mapping[str, float]
    logits: Mapping[str, float]


def _classified(volume: Any, model: Model, progress: Progress = None) -> Any:
    run = _library.core().GradeClassifier()
    run.set_region(volume)
    run.set_model(model._model)
    _update(run, progress, "grade")
    return run


@documented("GradeClassifierFilter")
def grade_classifier(region: Any, model: Union[Model, PathLike], *, progress: Progress = None) -> Classification:
    """The grade of a region as bounding_box_roi() cuts it from the standardized sequences."""
    volume, _ = to_vector_volume(region, GEOMETRY_TOLERANCE)
    loaded = as_model(model)
    names = loaded.manifest.class_names
    run = _classified(volume, loaded, progress)
    return Classification(run.get_grade_name(), dict(zip(names, run.get_probabilities())), dict(zip(names, run.get_logits())))


@dataclasses.dataclass(frozen=True, eq=False)
class GradCAMMaps:
    """Maps of grad_cam(), by layer."""

    maps: Mapping[str, Any]
    #: 1 where the layer's cells reach: elsewhere its map says nothing.
    supports: Mapping[str, Any]
    #: False where no cell is above 0: the map is empty and must not be drawn.
    has_positive_cell: Mapping[str, bool]
    explained_class: str
    probabilities: Mapping[str, float]


def _class_number(label: Union[None, int, str], names: Sequence[str]) -> int:
    """-1 for the predicted class."""
    if label is None:
        return -1
    if isinstance(label, str):
        if label not in names:
            raise InputError(f"class_to_explain is {label!r}; the model's classes are {', '.join(names)}.")
        return list(names).index(label)
    number = whole_number(label, "class_to_explain")
    if not 0 <= number < len(names):
        raise InputError(f"class_to_explain is {label}; the model has the classes 0 to {len(names) - 1}.")
    return number


@documented("GradCAMImageFilter")
def grad_cam(
    region: Any,
    model: Union[Model, PathLike],
    layers: Union[None, str, Sequence[str]] = None,
    *,
    class_to_explain: Union[None, int, str] = None,
    explain_probability: bool = False,
    reference: Any = None,
    progress: Progress = None,
) -> GradCAMMaps:
    """GradCAM of a grading model, one map a layer, on the layer's own grid or that of a reference image.

    layers: default all that the model lists. class_to_explain: name or number; default the predicted one.
    """
    volume, wrap = to_vector_volume(region, GEOMETRY_TOLERANCE)
    loaded = as_model(model)
    names = loaded.manifest.class_names
    run = _library.core().GradCAM()
    run.set_region(volume)
    run.set_model(loaded._model)
    chosen = loaded.layer_names if layers is None else name_list(layers, "layers")
    for layer in chosen:
        run.add_layer_name(layer)
    set_parameters(run, class_to_explain=_class_number(class_to_explain, names), explain_probability=explain_probability)
    wrap_map: Wrap = wrap
    if reference is not None:
        reference_volume, wrap_map = to_volume(reference, "the reference")
        run.set_reference(reference_volume)
    _update(run, progress, "GradCAM")
    positive = run.get_has_positive_cell()
    return GradCAMMaps(
        {layer: wrap_map(run.get_map(i)) for i, layer in enumerate(chosen)},
        {layer: wrap_map(run.get_support(i)) for i, layer in enumerate(chosen)},
        {layer: bool(positive[i]) for i, layer in enumerate(chosen)},
        names[run.get_explained_class()],
        dict(zip(names, run.get_probabilities())),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class GuidedMap:
    """The map of guided_backpropagation(): signed, one component a sequence."""

    map: Any
    support: Any
    explained_class: str
    probabilities: Mapping[str, float]
    executed_relus: int
    guided_relus: int
    #: Activations that passed without a rule, where that was allowed.
    other_activations: tuple[str, ...]


@documented("GuidedBackpropagationImageFilter")
def guided_backpropagation(
    region: Any,
    model: Union[Model, PathLike],
    *,
    class_to_explain: Union[None, int, str] = None,
    explain_probability: bool = False,
    allow_other_activations: bool = False,
    reference: Any = None,
    progress: Progress = None,
) -> GuidedMap:
    """Guided backpropagation of a class through a grading model, on the region's grid or that of a reference image."""
    volume, wrap = to_vector_volume(region, GEOMETRY_TOLERANCE)
    loaded = as_model(model)
    names = loaded.manifest.class_names
    run = _library.core().GuidedBackpropagation()
    run.set_region(volume)
    run.set_model(loaded._model)
    set_parameters(
        run,
        class_to_explain=_class_number(class_to_explain, names),
        explain_probability=explain_probability,
        allow_other_activations=allow_other_activations,
    )
    if reference is not None:
        reference_volume, wrap = to_volume(reference, "the reference")
        run.set_reference(reference_volume)
    _update(run, progress, "guided backpropagation")
    return GuidedMap(
        wrap(run.get_map()),
        wrap(run.get_support()),
        names[run.get_explained_class()],
        dict(zip(names, run.get_probabilities())),
        run.get_executed_relus(),
        run.get_guided_relus(),
        tuple(run.get_other_activations()),
    )


@dataclasses.dataclass(frozen=True)
class Quality:
    """The numbers of explanation_quality(); NaN: not defined. Those of a sequence or label are in their order."""

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


@documented("ExplanationQualityFilter")
def explanation_quality(
    map: Any,
    tumour_mask: Any,
    brain_mask: Any = None,
    support: Any = None,
    region_labels: Any = None,
    *,
    energy_mode: Energy = "absolute",
    border_width: float = 3.0,
    measure_border: bool = True,
    progress: Progress = None,
) -> Quality:
    """Does a map look at the tumour? Its numbers beside what chance would give.

    A GradCAM needs its support, maps.supports[layer]: beyond the layer's cells the map says nothing, and chance counts only where it says
    something. Without it the ratio to chance can come out high for a map that misses the tumour.
    """
    volume, _ = to_vector_volume(map, GEOMETRY_TOLERANCE)
    run = _library.core().ExplanationQuality()
    run.set_map(volume)
    run.set_tumour_mask(to_volume(tumour_mask, "the tumour mask", mask=True, like=volume)[0])
    if brain_mask is not None:
        run.set_brain_mask(to_volume(brain_mask, "the brain mask", mask=True, like=volume)[0])
    if support is not None:
        run.set_support(to_volume(support, "the support", mask=True, like=volume)[0])
    if region_labels is not None:
        run.set_region_labels(to_volume(region_labels, "the labels", labels=True, like=volume)[0])
    set_parameters(
        run,
        energy_mode=_number(energy_mode, Energy, "energy_mode"),
        border_width=border_width,
        measure_border=measure_border,
    )
    _update(run, progress, "quality")
    flags = run.get_flags()
    numbers: dict[str, Any] = dict(run.get_measures())
    numbers.update({name: tuple(values) for name, values in run.get_lists().items()})
    return Quality(
        **numbers,
        empty_map=bool(flags & 1),
        tumour_missed=bool(flags & 2),
        border_dominates=bool(flags & 4),
        support_misses_tumour=bool(flags & 8),
    )
