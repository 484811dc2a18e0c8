# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Glioma grading for SimpleITK, itk and NumPy: finds a tumour in four MRI sequences, grades it, explains the grade.

    import SimpleITK as sitk, gliomagrading
    images = [sitk.ReadImage(f"{name}.nii.gz") for name in ("t1", "t1c", "t2", "flair")]
    result = gliomagrading.grade(images)
    print(result.grade, result.probabilities, result.verdict)
    sitk.WriteImage(result.gradcam["res4"], "gradcam.nii.gz")

Research use only. The C++ library is loaded with the first function that needs it.
"""

from ._library import check_torch, get_number_of_threads, set_number_of_threads, versions
from ._version import __version__
from .errors import Aborted, Error, GliomaGradingWarning, InputError, ModelError
from .filters import (
    BrainMaskDetails,
    Classification,
    GradCAMMaps,
    GuidedMap,
    N4Details,
    Quality,
    RegionDetails,
    ReplacementDetails,
    SegmentationDetails,
    StandardizeDetails,
    bounding_box_roi,
    brain_mask,
    explanation_quality,
    grad_cam,
    grade_classifier,
    guided_backpropagation,
    masked_standardize,
    n4_bias_correction_chain,
    n4_bias_field_correction,
    replace_tumour,
    torch_segmentation,
)
from .checks import Faithfulness, Sanity, explanation_faithfulness, explanation_sanity
from .grading import GradeResult, grade
from .images import Image
from .model import Manifest, Model, demonstration_bundle, write_seeded_bundle
from .sequences import (
    Preparation,
    Registration,
    SequenceOrder,
    rigid_registration,
    rigid_resample,
    sequence_order,
    sequence_preparation,
)

check_torch()

__all__ = [
    "Aborted",
    "BrainMaskDetails",
    "Classification",
    "Error",
    "Faithfulness",
    "GliomaGradingWarning",
    "GradCAMMaps",
    "GradeResult",
    "GuidedMap",
    "Image",
    "InputError",
    "Manifest",
    "Model",
    "ModelError",
    "N4Details",
    "Preparation",
    "Quality",
    "RegionDetails",
    "Registration",
    "ReplacementDetails",
    "Sanity",
    "SegmentationDetails",
    "SequenceOrder",
    "StandardizeDetails",
    "__version__",
    "bounding_box_roi",
    "brain_mask",
    "demonstration_bundle",
    "explanation_faithfulness",
    "explanation_quality",
    "explanation_sanity",
    "get_number_of_threads",
    "grad_cam",
    "grade",
    "grade_classifier",
    "guided_backpropagation",
    "masked_standardize",
    "n4_bias_correction_chain",
    "n4_bias_field_correction",
    "replace_tumour",
    "rigid_registration",
    "rigid_resample",
    "sequence_order",
    "sequence_preparation",
    "set_number_of_threads",
    "torch_segmentation",
    "versions",
    "write_seeded_bundle",
]
