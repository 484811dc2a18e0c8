# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0

# Types of grading.py.

import dataclasses
from typing import Any, Generic, Literal, Optional, TypeVar, Union, overload
from collections.abc import Mapping, Sequence

from ._progress import Progress
from .images import Image, PathLike
from .model import Model

T = TypeVar("T")
Explain = Literal["none", "gradcam", "guided-backprop", "all"]

@dataclasses.dataclass(frozen=True, eq=False)
class GradeResult(Generic[T]):
    grade: Optional[str]
    probabilities: Mapping[str, float]
    probabilities_without_tumour: Optional[Mapping[str, float]]
    verdict: str
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    tumour: T
    tumour_probability: Optional[T]
    brain_mask: Optional[T]
    gradcam: Mapping[str, T]
    gradcam_support: Mapping[str, T]
    guided_backpropagation: Optional[T]
    brain_gradcam: Mapping[str, T]
    brain_guided_backpropagation: Optional[T]
    tumour_volume_ml: float
    brain_volume_ml: float
    quality: Mapping[str, Optional[float]]
    intended_use: str
    provenance: Mapping[str, Any]
    document: Mapping[str, Any]
    @property
    def region(self) -> Optional[Mapping[str, Any]]: ...

@overload
def grade(
    images: Union[Sequence[PathLike], Mapping[str, PathLike]],
    *,
    segmentation_model: Union[None, Model, PathLike] = ...,
    grading_model: Union[None, Model, PathLike] = ...,
    brain_grading_model: Union[None, Model, PathLike] = ...,
    brain_mask: Any = ...,
    tumour_mask: Any = ...,
    region_labels: Any = ...,
    register: bool = ...,
    reference: str = ...,
    explain: Explain = ...,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    grad_cam_layers: Union[str, Sequence[str]] = ...,
    test_explanation: bool = ...,
    turn_upright: bool = ...,
    grade_without_tumour: bool = ...,
    geometry_tolerance: float = ...,
    series: Union[str, Sequence[str]] = ...,
    progress: Progress = ...,
) -> GradeResult[Image]: ...
@overload
def grade(
    images: Union[Sequence[T], Mapping[str, T]],
    *,
    segmentation_model: Union[None, Model, PathLike] = ...,
    grading_model: Union[None, Model, PathLike] = ...,
    brain_grading_model: Union[None, Model, PathLike] = ...,
    brain_mask: Any = ...,
    tumour_mask: Any = ...,
    region_labels: Any = ...,
    register: bool = ...,
    reference: str = ...,
    explain: Explain = ...,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    grad_cam_layers: Union[str, Sequence[str]] = ...,
    test_explanation: bool = ...,
    turn_upright: bool = ...,
    grade_without_tumour: bool = ...,
    geometry_tolerance: float = ...,
    series: Union[str, Sequence[str]] = ...,
    progress: Progress = ...,
) -> GradeResult[T]: ...
@overload
def grade(
    images: T,
    *,
    segmentation_model: Union[None, Model, PathLike] = ...,
    grading_model: Union[None, Model, PathLike] = ...,
    brain_grading_model: Union[None, Model, PathLike] = ...,
    brain_mask: Any = ...,
    tumour_mask: Any = ...,
    region_labels: Any = ...,
    register: bool = ...,
    reference: str = ...,
    explain: Explain = ...,
    class_to_explain: Union[None, int, str] = ...,
    explain_probability: bool = ...,
    grad_cam_layers: Union[str, Sequence[str]] = ...,
    test_explanation: bool = ...,
    turn_upright: bool = ...,
    grade_without_tumour: bool = ...,
    geometry_tolerance: float = ...,
    series: Union[str, Sequence[str]] = ...,
    progress: Progress = ...,
) -> GradeResult[T]: ...
