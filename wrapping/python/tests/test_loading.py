# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""The package beside others in one process, each order in a process of its own."""

import importlib.util
import itertools
import os
import pathlib
import random
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest

import gliomagrading
import gliomagrading._version
from gliomagrading import _library

PACKAGES = ("torch", "itk", "SimpleITK", "monai", "ants")
OWN = "gliomagrading"

# Every package does something, so that its libraries are there; ours runs a network's gradient.
USES = {
    "torch": "x = torch.ones(3, requires_grad=True); (x * x).sum().backward(); assert x.grad.tolist() == [2, 2, 2]",
    "itk": "assert itk.array_from_image(itk.image_from_array(np.ones((4, 5, 6), np.float32))).max() == 1",
    "SimpleITK": "assert SimpleITK.GetArrayFromImage(SimpleITK.Median(SimpleITK.GetImageFromArray(np.ones((4, 5, 6), np.float32)))).max() == 1",
    "monai": "from monai.networks.blocks import Convolution; Convolution(3, 1, 1)",
    "ants": "assert ants.from_numpy(np.ones((4, 5, 6), np.float32)).mean() == 1",
    OWN: "g = gliomagrading; r = np.random.default_rng(1).standard_normal((72, 72, 72, 4)).astype(np.float32); "
    "m = g.guided_backpropagation(r, sys.argv[1], class_to_explain=1); assert np.abs(m.map).max() > 0; "
    "print('%.9g' % m.probabilities['HGG'])",
}


def run(code: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
    )


def importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def orders() -> "list[tuple[str, ...]]":
    """Before and after each package alone, and all in orders of one seed.

    A run tries one of those, since itk and monai take their time: GLIOMAGRADING_IMPORT_ORDERS=20 tries as many, and
    monai alone too.
    """
    present = [p for p in PACKAGES if importable(p)]
    number = int(os.environ.get("GLIOMAGRADING_IMPORT_ORDERS", "1"))
    alone = [p for p in present if p != "monai" or number > 1]
    pairs = [order for p in alone for order in ((OWN, p), (p, OWN))]
    everything = list(itertools.permutations([OWN, *present]))
    return pairs + random.Random(15).sample(everything, min(number, len(everything)))


@pytest.mark.parametrize("order", orders(), ids="-".join)
def test_import_order(order: Sequence[str], bundles: "object") -> None:
    """Imports in this order, then uses in the same and in the other: no crash, and the same number."""
    grading: str = getattr(bundles, "grading")
    code = ["import sys", "import numpy as np", *(f"import {p}" for p in order)]
    code += [USES[p] for p in order] + [USES[p] for p in reversed(order)]
    done = run("\n".join(code), grading)
    assert done.returncode == 0, done.stderr[-2000:]
    alone = run("\n".join(["import sys", "import numpy as np", f"import {OWN}", USES[OWN]]), grading) if not NUMBER else None
    if alone is not None:
        NUMBER.append(alone.stdout.split()[-1])
    assert done.stdout.split() == [NUMBER[0]] * 2


NUMBER: "list[str]" = []


def test_nothing_is_imported_that_the_user_did_not(bundles: "object") -> None:
    done = run(
        f"""
        import sys, numpy as np, gliomagrading
        assert not {{"SimpleITK", "itk", "torch", "monai", "ants", "distributed", "tqdm"}} & set(sys.modules), "import"
        assert "gliomagrading._core" not in sys.modules
        gliomagrading.brain_mask(np.ones((4, 5, 6), np.float32))
        {USES[OWN]}
        assert not {{"SimpleITK", "itk", "torch", "monai", "ants", "distributed", "tqdm"}} & set(sys.modules), "use"
        """,
        getattr(bundles, "grading"),
    )
    assert done.returncode == 0, done.stderr


def other_torch(folder: pathlib.Path) -> pathlib.Path:
    """A library that calls itself libc10.so: a small one of the system under that name."""
    import ctypes.util

    source = next(line.split()[-1] for line in open("/proc/self/maps") if "/libz.so" in line or "/libm.so" in line)
    path = folder / "libc10.so"
    path.write_bytes(pathlib.Path(source).read_bytes())
    return path


def test_a_conflicting_libtorch_is_refused_before_the_extension_loads(tmp_path: pathlib.Path) -> None:
    done = run(
        """
        import ctypes, sys
        ctypes.CDLL(sys.argv[1])
        try:
            import gliomagrading
        except ImportError as error:
            print(error)
            assert "gliomagrading._core" not in sys.modules
            assert not any("_extension" in line for line in open("/proc/self/maps"))
        """,
        str(other_torch(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    assert "another LibTorch" in done.stdout and str(tmp_path) in done.stdout
    late = run(
        """
        import ctypes, sys, numpy as np, gliomagrading
        ctypes.CDLL(sys.argv[1])
        try:
            gliomagrading.brain_mask(np.ones((4, 5, 6), np.float32))
        except ImportError as error:
            print(error)
        """,
        str(other_torch(tmp_path)),
    )
    assert late.returncode == 0 and "another LibTorch" in late.stdout, late.stderr


@pytest.mark.parametrize("version, says", [("1.13.1", "torch 1.13.1 is installed"), (None, "pip install 'torch==")])
def test_another_torch_is_refused(version: "str | None", says: str, tmp_path: pathlib.Path) -> None:
    if version is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')\n")
        (tmp_path / "torch" / "version.py").write_text(f"__version__ = '{version}'\n")
    done = run(
        """
        import importlib.util, sys
        if len(sys.argv) > 1:
            sys.path.insert(0, sys.argv[1])
        else:
            find = importlib.util.find_spec
            importlib.util.find_spec = lambda name, *more: None if name == "torch" else find(name, *more)
        try:
            import gliomagrading
        except ImportError as error:
            print(error)
        """,
        *([str(tmp_path)] if version is not None else []),
    )
    assert done.returncode == 0 and says in done.stdout, done.stdout + done.stderr


def core_file() -> str:
    folder = os.path.dirname(os.path.abspath(gliomagrading.__file__))
    return next(os.path.join(folder, n) for n in os.listdir(folder) if n.startswith("_extension.") and n.endswith(".so"))


def test_the_extension_offers_only_its_entry() -> None:
    """No name of LibTorch or ITK leaves it."""
    nm = subprocess.run(["nm", "-D", "--defined-only", core_file()], capture_output=True, text=True)
    if nm.returncode != 0:
        pytest.skip("nm is missing")
    names = [line.split()[-1] for line in nm.stdout.splitlines()]
    assert names == ["PyInit__extension"]


def test_no_library_reaches_fftw() -> None:
    """FFTW is under the GPL."""
    done = run(
        """
        import numpy as np, gliomagrading
        gliomagrading.brain_mask(np.ones((4, 5, 6), np.float32))
        print("".join(line for line in open("/proc/self/maps") if ".so" in line))
        """
    )
    assert "_extension" in done.stdout and not re.search("fftw", done.stdout, re.IGNORECASE), done.stderr


def test_the_import_is_light() -> None:
    """What takes the time of an import, LibTorch and ITK, is not there before it is needed."""
    done = run("import gliomagrading; print(''.join(l for l in open('/proc/self/maps') if 'libtorch' in l or 'libITK' in l))")
    assert done.returncode == 0 and done.stdout.strip() == "", done.stderr


def test_versions() -> None:
    versions = gliomagrading.versions()
    assert versions["gliomagrading"] == gliomagrading.__version__
    assert _library._minor(versions["torch"]) == _library._minor(gliomagrading._version.__torch_version__) and versions["itk"]
