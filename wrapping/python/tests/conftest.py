# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""A small oblique head, tiny seeded models, and a phantom of the program glioma."""

import dataclasses
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import gliomagrading as gg
from gliomagrading._program import environment, path as program_path

# The head of the tests in itk.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test"))
import obliqueHead  # noqa: E402

SEQUENCES = ("T1", "T1c", "T2", "FLAIR")


def rotation(degrees: float) -> npt.NDArray[np.float64]:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])


@dataclasses.dataclass
class Head:
    """Four sequences (z, y, x), their brain and their tumour, with anisotropic spacing and an oblique direction."""

    arrays: list[npt.NDArray[np.float32]]
    brain: npt.NDArray[np.uint8]
    tumour: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float] = (3.5, 4.0, 5.0)
    origin: tuple[float, float, float] = (-11.5, 23.25, 7.0)
    direction: npt.NDArray[np.float64] = dataclasses.field(default_factory=lambda: rotation(12.0))
    metadata: dict[str, str] = dataclasses.field(default_factory=lambda: {"institution": "nowhere"})

    def as_sitk(self, array: npt.NDArray[Any]) -> Any:
        sitk = pytest.importorskip("SimpleITK")
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection([float(v) for v in self.direction.ravel()])
        for key, value in self.metadata.items():
            image.SetMetaData(key, value)
        return image

    def as_itk(self, array: npt.NDArray[Any]) -> Any:
        itk = pytest.importorskip("itk")
        image = itk.image_from_array(array)
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(itk.matrix_from_array(self.direction))
        dictionary = image.GetMetaDataDictionary()
        for key, value in self.metadata.items():
            dictionary[key] = value
        image.SetMetaDataDictionary(dictionary)
        return image

    def as_own(self, array: npt.NDArray[Any]) -> gg.Image:
        return gg.Image(array, self.spacing, self.origin, self.direction, dict(self.metadata))


def make_head() -> Head:
    return Head(*obliqueHead.arrays())


@pytest.fixture(scope="session")
def head() -> Head:
    return make_head()


def write_dicom(folder: pathlib.Path, uid: str, voxels: npt.NDArray[np.int16]) -> None:
    """A series of axial slices, a file each."""
    sitk = pytest.importorskip("SimpleITK")
    folder.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(voxels)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z in range(len(voxels)):
        one = image[:, :, z]
        for key, value in {
            "0008|0060": "MR",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0013": str(z + 1),
            "0008|0018": f"{uid}.{z}",
            "0020|0032": f"0\\0\\{z}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            one.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}-{z}.dcm"))
        writer.Execute(one)


SEGMENTATION = gg.Manifest(
    name="tiny segmentation",
    version="1",
    task="segmentation",
    network="PereiraSegmentationNetwork",
    width=4,
    levels=3,
    channel_names=SEQUENCES,
    class_names=("background", "tumour"),
    bias_correction="none",
    standardization="brain",
    licence="Apache-2.0",
)
GRADING = dataclasses.replace(
    SEGMENTATION,
    name="tiny grading",
    task="grading",
    network="PereiraGradingNetwork",
    levels=0,
    class_names=("LGG", "HGG"),
    region="tumour",
    fit_mode="cube",
    margin=10.0,
    output_size=72,
)


@dataclasses.dataclass
class Bundles:
    segmentation: str
    grading: str


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    folder = tmp_path_factory.mktemp("bundles")
    made = Bundles(str(folder / "segmentation"), str(folder / "grading"))
    gg.write_seeded_bundle(made.segmentation, SEGMENTATION, 1)
    gg.write_seeded_bundle(made.grading, GRADING, 2)
    return made


@dataclasses.dataclass
class Phantom:
    """Files of a phantom, and what the C++ program makes of them."""

    files: dict[str, str]
    tumour: str
    results: pathlib.Path


def run_program(*arguments: str) -> None:
    subprocess.run([program_path(), *arguments], check=True, stdout=subprocess.DEVNULL, env=environment())


def grade_by_program(files: dict[str, str], tumour: str, output: pathlib.Path, *options: str) -> None:
    """The four sequences by their names in `files`."""
    sequences = [part for name, file in files.items() for part in (f"--{name.lower()}", file)]
    run_program("grade", *sequences, "--tumour-mask", tumour, "--output", str(output), *options)


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory, bundles: Bundles) -> Phantom:
    folder = tmp_path_factory.mktemp("phantom")
    run_program("synthesize", "--cases", "1", "--seed", "3", "--spacing", "3", "--output", str(folder / "cases"))
    case = next(entry for entry in (folder / "cases").iterdir() if entry.is_dir())
    suffixes = {"T1": "t1", "T1c": "t1ce", "T2": "t2", "FLAIR": "flair"}
    files = {name: str(case / f"{case.name}_{suffix}.nii.gz") for name, suffix in suffixes.items()}
    tumour = str(case / f"{case.name}_seg.nii.gz")
    results = folder / "results"
    grade_by_program(files, tumour, results, "--grading-model", bundles.grading)
    return Phantom(files, tumour, results)
