#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Checks of the files themselves: licence, layout, where LibTorch is used, names, what ITK 6 has no more.

python3 check_sources.py licence|layout|torch|names|itk6 SOURCE_DIR
Exit code 0: fine; 1: what is wrong is printed; 77: the check cannot run here.
"""
import os
import re
import shutil
import subprocess
import sys

CXX = (".cxx", ".h", ".hxx", ".cu", ".i")
HASH = (".py", ".sh", ".cmake", ".wrap", ".yml", ".yaml", ".toml", ".cff")


def source_files(root):
    """Every file of the project: git's list where there is one, else the tree without build folders."""
    try:
        listed = subprocess.run(
            ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
        ).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = []
        for folder, folders, files in os.walk(root):
            folders[:] = [f for f in folders if not f.startswith("build") and f not in (".git", "dist", "glioma-demo", "__pycache__")]
            names += [os.path.relpath(os.path.join(folder, f), root) for f in files]
    names = sorted(name for name in names if os.path.isfile(os.path.join(root, name)))
    if not any(name.endswith(".cxx") for name in names):
        sys.exit(f"No source file found below {root}: the check would see nothing.")
    return names


def text_of(root, name):
    with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def licence(root, names):
    for name in names:
        base = os.path.basename(name)
        text = text_of(root, name)[:1500]
        if name.endswith(CXX):
            if "Copyright NumFOCUS" not in text or "Apache License, Version 2.0" not in text:
                yield f"{name}: the licence header is missing"
        elif name.endswith(HASH) or base == "CMakeLists.txt" or text.startswith("#!"):
            if "SPDX-FileCopyrightText: Copyright NumFOCUS" not in text or "SPDX-License-Identifier: Apache-2.0" not in text:
                yield f"{name}: the two SPDX lines are missing"


def layout(root, names):
    candidates = [
        os.environ.get("CLANG_FORMAT"),
        os.path.join(os.path.dirname(sys.executable), "clang-format"),
        "clang-format-19",
        "clang-format",
    ]
    for candidate in candidates:
        program = shutil.which(candidate) if candidate else None
        if program and re.search(r"version 19\.", subprocess.run([program, "--version"], capture_output=True, text=True).stdout):
            break
    else:
        print("SKIPPED: no clang-format 19 (pip install clang-format==19.1.7)")
        sys.exit(77)
    files = [name for name in names if name.endswith((".cxx", ".h", ".hxx"))]
    outcome = subprocess.run([program, "--dry-run", *files], cwd=root, capture_output=True, text=True)
    for line in outcome.stderr.splitlines():
        if "[-Wclang-format-violations]" in line:
            yield line


def torch(root, names):
    include = re.compile(r'^\s*#\s*include\s*[<"](torch|ATen|c10|caffe2)/', re.MULTILINE)
    allowed = ("src/", "CMake/GliomaGradingLibTorchABI.cxx", "test/ExplanationEngineGTest.cxx", "test/TorchScriptModelsGTest.cxx")
    used = 0
    for name in names:
        if name.endswith(CXX) and include.search(text_of(root, name)):
            if name.startswith(allowed):
                used += 1
            else:
                yield f"{name}: includes LibTorch, which only src/ may know"
    if used == 0:
        yield "no file of src/ includes LibTorch: the check would see nothing"


def names(root, files):
    for name in files:
        if re.search(r"(^|[^a-z])(utils?|utilit(y|ies)|helpers?|common|misc)([^a-z]|$)", os.path.basename(name).lower()) or re.search(
            r"(Util|Helper|Common|Misc)", os.path.basename(name)
        ):
            yield f"{name}: say in the name what the file holds"


# From ITK 6's migration guide, and the classes of ITK 5's module Deprecated. GTest's old targets are named where ITK 5 wants them.
GONE_WITH_ITK5 = """
ITKv5_CONST ITKV4_COMPATIBILITY ITK_ALIGNAS ITK_ALIGNOF ITK_CONSTEXPR ITK_CONSTEXPR_FUNC ITK_CONSTEXPR_VAR ITK_DELETE_FUNCTION
ITK_DELETED_FUNCTION ITK_DEPRECATED ITK_DEPRECATED_MSG ITK_DISALLOW_COPY_AND_ASSIGN ITK_EXTERN_TEMPLATE ITK_FALLTHROUGH ITK_FINAL
ITK_NOEXCEPT ITK_NOEXCEPT_EXPR ITK_NULLPTR ITK_OVERRIDE ITK_STATIC_ASSERT ITK_STATIC_ASSERT_MSG ITK_THREAD_LOCAL
CoordRepType ImagePointCoordRepType InputCoordRepType IsNumber OutputCoordRepType SpatialOrientation itkSpatialOrientation
ITKFEM ITKFEMRegistration ITKVNLInstantiation DCMTKFileReader itkDCMTKFileReader
vnl_convolve vnl_fft_1d vnl_fft_2d vnl_generalized_eigensystem vnl_real_eigensystem vnl_scatter_3x3 vnl_symmetric_eigensystem
VnlForwardFFTImageFilter VnlInverseFFTImageFilter VnlRealToHalfHermitianForwardFFTImageFilter VnlFFTImageFilterInitFactory
VnlHalfHermitianToRealInverseFFTImageFilter VnlComplexToComplexFFTImageFilter VnlForward1DFFTImageFilter VnlInverse1DFFTImageFilter
VnlComplexToComplex1DFFTImageFilter vnl_fft_prime_factors OverrideBoundaryCondition MultiThreader AtomicIntDetail LazyITKModule
TreeIteratorBase PreOrderTreeIterator PostOrderTreeIterator LevelOrderTreeIterator InOrderTreeIterator RootTreeIterator
LeafTreeIterator ChildTreeIterator TreeIteratorClone
AtomicInt Barrier ConditionVariable FastMutexLock ImageTransformer MutexLock MutexLockHolder SimpleFastMutexLock TreeContainer
TreeNode VectorCastImageFilter VectorCentralDifferenceImageFunction VectorResampleImageFilter ITK_PYTHON_LAZYLOADING LazyLoading
itkStaticConstMacro itkGetStaticConstMacro itkTypeMacro
""".split()


def itk6(root, files):
    gone = re.compile(r"\b(" + "|".join(GONE_WITH_ITK5) + r")\b")
    seen = 0
    for name in files:
        if not name.endswith(CXX + (".cmake", ".wrap", "CMakeLists.txt")) and not name.startswith("wrapping/test/"):
            continue
        for number, line in enumerate(text_of(root, name).splitlines(), 1):
            code = line.split("//")[0]
            seen += "itkOverrideGetNameOfClassMacro" in code
            if gone.search(code):
                yield f"{name}:{number}: ITK 6 has no {gone.search(code).group(1)}"
    if seen == 0:
        yield "no class names itself with itkOverrideGetNameOfClassMacro: the check would see nothing"


CHECKS = {"licence": licence, "layout": layout, "torch": torch, "names": names, "itk6": itk6}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in CHECKS:
        sys.exit(__doc__)
    faults = list(CHECKS[sys.argv[1]](sys.argv[2], source_files(sys.argv[2])))
    print("\n".join(faults) if faults else f"{sys.argv[1]}: fine")
    sys.exit(1 if faults else 0)
