# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""From four sequences to the tumour's grade and the maps that explain it."""

import dataclasses
import json
import warnings
from typing import Any, Literal, Optional, Union
from collections.abc import Mapping, Sequence

from . import _library
from ._documentation import documented
from ._parameters import name_list, real_number, set_parameters
from ._progress import Progress
from .errors import GliomaGradingWarning, InputError
from .filters import GEOMETRY_TOLERANCE, _class_number, _number, _update
from .images import SEQUENCES, PathLike, Wrap, is_path, named_sequences, path_text, refuse_unused, to_volume
from .model import _PRECISIONS, Model, as_model, demonstration_bundle

Explain = Literal["none", "gradcam", "guided-backprop", "all"]


@dataclasses.dataclass(frozen=True, eq=False)
class GradeResult:
    """What grade() found. Research use only; the verdict is not a clinical acceptance.

    Images are of the kind that was given, on the grid of the first sequence (or of the reference of a registration).
    """

    #: Name of the class, such as "HGG"; None where no tumour was found.
    grade: Optional[str]
    #: Probability of each class; empty where no tumour was found.
    probabilities: Mapping[str, float]
    #: The same with healthy tissue in the tumour's place; None where no tumour was found, the brain's other half has too little such
    #: tissue, or it was not asked for. Where it is close to the probabilities, the grade does not come from the tumour.
    probabilities_without_tumour: Optional[Mapping[str, float]]
    #: "no-flags", or "review" with reasons.
    verdict: str
    reasons: tuple[str, ...]
    #: What the result must not be used for, and what the models were trained on.
    warnings: tuple[str, ...]
    #: 1 in the tumour.
    tumour: Any
    #: None with a tumour mask.
    tumour_probability: Any
    #: None after a registration in which none was given: it lies on another grid.
    brain_mask: Any
    #: By layer; raw magnitudes.
    gradcam: Mapping[str, Any]
    #: By layer, 1 where its cells reach; empty after a registration.
    gradcam_support: Mapping[str, Any]
    #: One component a sequence; None unless it was asked for.
    guided_backpropagation: Any
    #: The same of brain_grading_model; empty and None without one.
    brain_gradcam: Mapping[str, Any]
    brain_guided_backpropagation: Any
    tumour_volume_ml: float
    brain_volume_ml: float
    #: Numbers of the explanation's quality and of the sequences; None: not defined.
    quality: Mapping[str, Optional[float]]
    intended_use: str
    #: Versions, models, inputs, parameters and seconds.
    provenance: Mapping[str, Any]
    #: All that `glioma grade` writes as result.json.
    document: Mapping[str, Any] = dataclasses.field(repr=False)

    @property
    def region(self) -> Optional[Mapping[str, Any]]:
        """The graded region; None where no tumour was found."""
        roi = self.document["roi"]
        return dict(roi) if roi is not None else None


def _model(model: Union[None, Model, PathLike], task: Literal["segmentation", "grading"]) -> Model:
    return Model(demonstration_bundle(task)) if model is None else as_model(model)


@documented("GliomaGradingFilter")
def grade(
    images: Any,
    *,
    segmentation_model: Union[None, Model, PathLike] = None,
    grading_model: Union[None, Model, PathLike] = None,
    brain_grading_model: Union[None, Model, PathLike] = None,
    brain_mask: Any = None,
    tumour_mask: Any = None,
    region_labels: Any = None,
    register: bool = False,
    reference: str = "T1c",
    explain: Explain = "all",
    class_to_explain: Union[None, int, str] = None,
    explain_probability: bool = False,
    grad_cam_layers: Union[str, Sequence[str]] = (),
    test_explanation: bool = False,
    turn_upright: bool = True,
    grade_without_tumour: bool = True,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
    series: Union[str, Sequence[str]] = (),
    progress: Progress = None,
) -> GradeResult:
    """Finds the tumour in T1, T1c, T2 and FLAIR, grades it and explains the grade. Research use only.

    images: a list in that order, or a mapping by those names. Without models the demonstration bundles are used, with a
    warning. brain_grading_model is a second grader that sees the whole brain ("brain-grading": the demonstration's, which
    has learnt little). register brings sequences on different grids to the reference first; masks lie on its grid.
    region_labels, an image of regions such as the ventricles, adds to quality how much of each map lies in each (not with
    register). series: UIDs of the series to take from DICOM folders of several.
    """
    named, wrap_of_one = named_sequences(images)
    run = _library.core().CaseGrading()
    if len({*SEQUENCES} & {reference}) == 0:
        raise InputError(f"reference is {reference!r}; give one of {', '.join(SEQUENCES)}.")
    first = reference if register else SEQUENCES[0]
    wrap: Wrap = lambda volume: volume  # noqa: E731
    metadata: dict[str, str] = {}
    reference_volume: Any = None
    tolerance = real_number(geometry_tolerance, "geometry_tolerance")
    if not 0.0 <= tolerance <= 0.5:  # as the command does
        raise InputError(f"geometry_tolerance is {tolerance}; give 0 to 0.5.")
    wanted, used = name_list(series, "series"), list[str]()
    for name, image in named.items():
        volume, wrap_this = to_volume(image, name, series=wanted)
        if name == first:
            wrap, metadata, reference_volume = wrap_this, volume.get_metadata(), volume
        run.set_sequence(name, volume)
        used += _add_file(run, name, image, wanted)
    wrap = wrap_of_one or wrap
    for role, mask, take in (
        ("brain-mask", brain_mask, run.set_brain_mask),
        ("tumour-mask", tumour_mask, run.set_tumour_mask),
    ):
        if mask is not None:
            take(to_volume(mask, role, mask=True, series=wanted, like=reference_volume)[0])
            used += _add_file(run, role, mask, wanted)
    if region_labels is not None:
        run.set_region_labels(to_volume(region_labels, "regions", labels=True, series=wanted, like=reference_volume)[0])
        used += _add_file(run, "regions", region_labels, wanted)
    refuse_unused(wanted, used)
    segmenter = _model(segmentation_model, "segmentation") if tumour_mask is None else None
    if segmenter is not None:
        run.set_segmentation_model(segmenter._model)
    grader = _model(grading_model, "grading")
    run.set_grading_model(grader._model)
    if brain_grading_model is not None:
        run.set_brain_grading_model(as_model(brain_grading_model)._model)
    if register:
        run.set_registration_reference(reference)
    set_parameters(
        run,
        explain=_number(explain, Explain, "explain"),
        class_to_explain=_class_number(class_to_explain, grader.manifest.class_names),
        explain_probability=explain_probability,
        test_explanation=test_explanation,
        turn_upright=turn_upright,
        grade_without_tumour=grade_without_tumour,
    )
    for layer in name_list(grad_cam_layers, "grad_cam_layers"):
        run.add_grad_cam_layer(layer)
    run.set_geometry_tolerance(tolerance)
    said = {
        "explain": explain,
        "test_explanation": run.get_test_explanation(),
        "class_to_explain": "predicted" if class_to_explain is None else str(class_to_explain),
        "explain_probability": run.get_explain_probability(),
        "turn_upright": run.get_turn_upright(),
        "grade_without_tumour": run.get_grade_without_tumour(),
        "device": grader._model.get_device(),
        "precision": _PRECISIONS[segmenter._model.get_precision() if segmenter is not None else 0],
        "threads": grader._model.get_number_of_threads() or _library.get_number_of_threads(),
        "geometry-tolerance": tolerance,
        "register": bool(register),
        **({"reference": reference.lower()} if register else {}),
    }
    for key, value in said.items():
        run.add_parameter(key, json.dumps(value))
    _update(run, progress, "grade")
    document = json.loads(run.get_document())
    for warning in document["warnings"]:
        if "not validated" in warning:
            warnings.warn(warning, GliomaGradingWarning, stacklevel=2)

    def like(volume: Any) -> Any:
        if register:
            volume.set_metadata(metadata)
        return wrap(volume)

    layers = list(run.get_grad_cam_layers())
    return GradeResult(
        grade=document["grade"],
        probabilities=document["probabilities"] or {},
        probabilities_without_tumour=(document["without_tumour"] or {}).get("probabilities"),
        verdict=document["verdict"],
        reasons=tuple(document["reasons"]),
        warnings=tuple(document["warnings"]),
        tumour=like(run.get_tumour()),
        tumour_probability=like(run.get_tumour_probability()) if run.has_tumour_probability() else None,
        brain_mask=None if register and brain_mask is None else like(run.get_brain_mask()),
        gradcam={layer: like(run.get_grad_cam(layer)) for layer in layers},
        gradcam_support={} if register else {layer: like(run.get_grad_cam_support(layer)) for layer in layers},
        guided_backpropagation=like(run.get_guided_backpropagation()) if run.has_guided_backpropagation() else None,
        brain_gradcam={layer: like(run.get_brain_grad_cam(layer)) for layer in run.get_brain_grad_cam_layers()},
        brain_guided_backpropagation=(like(run.get_brain_guided_backpropagation()) if run.has_brain_guided_backpropagation() else None),
        tumour_volume_ml=document["tumour_volume_ml"],
        brain_volume_ml=document["brain_volume_ml"],
        quality=document["quality"],
        intended_use=grader.manifest.intended_use,
        provenance=document["provenance"],
        document=document,
    )


def _add_file(run: Any, role: str, image: Any, series: Sequence[str]) -> Sequence[str]:
    """A file's name and digest belong to the provenance. The series that it took."""
    return tuple(run.add_input_file(role, path_text(image), list(series))) if is_path(image) else ()
