# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""What a wheel holds: the folder that CMake installs for it (GLIOMAGRADING_BUILD names the build folder)."""

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gliomagrading import _library, _version

BUILD = os.environ.get("GLIOMAGRADING_BUILD", "")
# Libraries that every Debian with a Python has.
OF_THE_SYSTEM = re.compile(r"(ld-linux|lib(c|m|dl|pthread|rt|util|stdc\+\+|gcc_s|z|crypto|expat|uuid))[-.]")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A folder of packages: ours, and a link to torch."""
    if not BUILD:
        pytest.skip("GLIOMAGRADING_BUILD is not set")
    folder = tmp_path_factory.mktemp("site-packages")
    done = subprocess.run(
        ["cmake", "--install", BUILD, "--component", "python", "--prefix", str(folder), "--strip"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    torch = _library.torch_folder()
    assert torch is not None
    (folder / "torch").symlink_to(torch)
    yield folder


def test_it_runs_with_its_own_libraries(site: pathlib.Path) -> None:
    """Every library of ITK comes from the package, none from the system, none is FFTW."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, gliomagrading as g\n"
        "assert g.__file__.startswith(sys.argv[1])\n"
        "g.brain_mask(np.ones((4, 5, 6), np.float32)); assert g.Model('grading').verify()\n"
        "print(''.join(line for line in open('/proc/self/maps') if '.so' in line))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    done = subprocess.run([sys.executable, "-c", code, str(site)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = {line.split()[-1] for line in done.stdout.splitlines() if "/" in line}
    itk = {path for path in loaded if re.search(r"lib(ITK|itk|gdcm)", os.path.basename(path))}
    assert itk and all(path.startswith(str(site)) for path in itk), itk
    assert not [path for path in loaded if "fftw" in path.lower()]


def test_every_library_is_there_or_of_the_system(site: pathlib.Path) -> None:
    package = site / "gliomagrading"
    binaries = [*package.glob("*.so"), *(package / "lib").iterdir(), package / "bin" / "glioma"]
    assert len(binaries) > 10
    beside = {path.name for path in (package / "lib").iterdir()}
    assert not [name for name in beside if re.match(r"lib(torch|c10)", name)], "LibTorch is the package torch's"
    for binary in binaries:
        said = subprocess.run(["readelf", "-d", str(binary)], capture_output=True, text=True)
        if said.returncode != 0:
            pytest.skip("readelf is missing")
        for path in re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", said.stdout):
            # A build that is no wheel also leads to the torch that it was configured with, and to an ITK outside the system's folders.
            others = {pathlib.Path(os.path.realpath(place)) for place in path.split(":") if not place.startswith("$ORIGIN")}
            others = {place for place in others if place.is_relative_to("/usr/lib") or not list(place.glob("libITKCommon-*"))}
            assert others <= {pathlib.Path(f"{_library.torch_folder()}/lib")}, f"{binary.name} looks into {path}"
        for needed in re.findall(r"\(NEEDED\).*\[(.*)\]", said.stdout):
            known = needed in beside or OF_THE_SYSTEM.match(needed) or re.match(r"lib((torch|c10)(_cpu|_cuda)?|gomp)[-.]", needed)
            assert known, f"{binary.name} needs {needed}"
            assert "fftw" not in needed


def test_the_minor_version_of_torch_is_pinned() -> None:
    """To that whose LibTorch the extension was built with; a build of its own takes the same."""
    minor = _library._minor(_version.__torch_version__)
    text = (pathlib.Path(__file__).resolve().parents[3] / "pyproject.toml").read_text()
    assert re.findall(r'"(torch=[^"]*)"', text) == [f"torch=={minor}.*"] * 2


def test_licences_come_along(site: pathlib.Path) -> None:
    licences = {path.name for path in (site / "gliomagrading" / "licences").iterdir()}
    assert "LICENSE" in licences and {"nlohmann-json3-dev.txt", "libcli11-dev.txt"} <= licences
    names = [p.name for p in (site / "gliomagrading" / "lib").iterdir() if not p.name.startswith("libGliomaGrading")]
    said = subprocess.run(["dpkg-query", "-S", *(f"*/{name}" for name in names)], capture_output=True, text=True).stdout
    owners = {line.rsplit("/", 1)[-1]: re.split("[:,]", line)[0] for line in said.splitlines()}
    if any(name.startswith("libITKCommon-") for name in owners):
        assert any("insighttoolkit" in name for name in licences) and any("gdcm" in name for name in licences)
    for name in names:
        # An ITK that no package brought has its own.
        expected = {owners[name] + ".txt"} if name in owners else {"ITK-LICENSE", "ITK-NOTICE"}
        assert expected <= licences, name


def test_bundles_and_types_come_along(site: pathlib.Path) -> None:
    package = site / "gliomagrading"
    assert (package / "py.typed").exists() and (package / "filters.pyi").exists()
    for task in ("segmentation", "grading", "brain-grading"):
        assert (package / "share" / "GliomaGrading" / "models" / task / "configs" / "metadata.json").exists()
    version = subprocess.run([str(package / "bin" / "glioma"), "--version"], capture_output=True, text=True)
    assert version.returncode == 0 and "glioma" in version.stdout, version.stderr
