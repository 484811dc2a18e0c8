# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Four sequences of a small head with anisotropic spacing, a shifted origin and an oblique direction, and tiny seeded models."""
import numpy as np


def arrays():
    """The sequences (float32), the brain and the tumour (uint8), with axes z, y, x."""
    random = np.random.default_rng(5)
    z, y, x = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 36), np.linspace(-1, 1, 40), indexing="ij")
    brain = (x**2 + y**2 + z**2 < 0.72).astype(np.uint8)
    tumour = ((x - 0.2) ** 2 + (y + 0.1) ** 2 + z**2 < 0.06).astype(np.uint8)
    sequences = []
    for i in range(4):
        field = np.exp(0.2 * x + 0.1 * i * y)
        values = (100.0 + 40.0 * i + 60.0 * (i + 1) * tumour + 5.0 * random.standard_normal(x.shape)) * field
        sequences.append((values * brain).astype(np.float32))
    return sequences, brain, tumour


def with_geometry(image):
    """Puts the head's geometry on an image of itk."""
    import itk

    angle = np.deg2rad(12.0)
    direction = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    image.SetSpacing([3.5, 4.0, 5.0])
    image.SetOrigin([-11.5, 23.25, 7.0])
    image.SetDirection(itk.matrix_from_array(direction))
    return image


def images():
    """The same as images of itk."""
    import itk

    sequences, brain, tumour = arrays()
    return [with_geometry(itk.image_from_array(a)) for a in sequences], *(with_geometry(itk.image_from_array(a)) for a in (brain, tumour))


def write_models(folder):
    """Untrained bundles that take any spacing: folder/segmentation and folder/grading. With these seeds no map is empty."""
    import itk

    common = {
        "Version": "1",
        "Width": 4,
        "ChannelNames": ["T1", "T1c", "T2", "FLAIR"],
        "BiasCorrection": "none",
        "Standardization": "brain",
        "Licence": "Apache-2.0",
    }
    segmentation = {
        "Name": "tiny segmentation",
        "Task": "segmentation",
        "Network": "PereiraSegmentationNetwork",
        "Levels": 3,
        "ClassNames": ["background", "tumour"],
    }
    grading = {
        "Name": "tiny grading",
        "Task": "grading",
        "Network": "PereiraGradingNetwork",
        "ClassNames": ["LGG", "HGG"],
        "Region": "tumour",
        "FitMode": "cube",
        "Margin": 10.0,
        "OutputSize": 72,
    }
    for seed, values in enumerate((segmentation, grading), 4):
        manifest = itk.TorchModelManifest()
        for name, value in {**common, **values}.items():
            getattr(manifest, f"Set{name}")(value)
        itk.TorchModel.WriteSeededBundle(f"{folder}/{values['Task']}", manifest, seed)
