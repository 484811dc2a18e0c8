#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""LibTorch inside a process of itk: import orders with torch, threads, the interpreter's lock, exported symbols."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

temporary = tempfile.TemporaryDirectory()
models = pathlib.Path(temporary.name)
here = pathlib.Path(__file__).resolve().parent

EXPLAIN = """
import hashlib, sys
sys.path.insert(0, {here!r})
def explain(watch=None):
    import itk, obliqueHead
    images, brain, tumour = obliqueHead.images()
    F, VF = itk.Image[itk.F, 3], itk.VectorImage[itk.F, 3]
    prepared = itk.masked_standardize_filter(itk.compose_image_filter(*images, ttype=(F, VF)), mask_image=brain)
    region = itk.bounding_box_roi_filter(prepared, mask_image=tumour, output_size=72)
    model = itk.TorchModel.New(path={grading!r})
    model.Load()
    explanation = itk.GradCAMImageFilter.New(region, model=model, class_to_explain=1)
    explanation.AddLayerName("res3")
    if watch:
        explanation.AddObserver(itk.ProgressEvent(), watch)
    explanation.Update()
    values = itk.array_from_image(explanation.GetMap("res3"))
    assert values.any()
    return hashlib.sha256(values.tobytes()).hexdigest()
def differentiate():
    import torch
    x = torch.ones(1, 2, 5, 5, 5, requires_grad=True)
    torch.nn.functional.conv3d(x, torch.ones(1, 2, 3, 3, 3)).sum().backward()
    assert x.grad[0, 0, 2, 2, 2] == 27
""".format(
    here=str(here), grading=str(models / "grading")
)


def run(code, **environment):
    done = subprocess.run([sys.executable, "-c", EXPLAIN + code], capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        sys.exit(f"{code}\nended with {done.returncode}: {done.stderr[-3000:]}")
    return done.stdout.split()


# Before any of them, and in a process that itk has to itself.
run(f"import obliqueHead; obliqueHead.write_models({str(models)!r})")

# The same bits in whatever order the packages come.
orders = {
    "itk alone": "print(explain())",
    "torch before itk": "import torch; differentiate(); print(explain()); differentiate()",
    "itk before torch": "import itk; itk.TorchModel; import torch; print(explain()); differentiate()",
    "torch after an explanation": "explain(); differentiate(); print(explain())",
}
digests = {order: run(code) for order, code in orders.items()}
assert len({tuple(d) for d in digests.values()}) == 1, digests

# A filter takes its threads from itk while it computes, and gives torch's back.
threads = """
import torch
torch.set_num_threads(3)
seen = set()
explain(lambda: seen.add(torch.get_num_threads()))
assert torch.get_num_threads() == 3
print(*seen)
"""
for number in ("1", "2"):
    seen = run(threads, ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=number)
    assert number in seen and set(seen) <= {number, "3"}, (number, seen)

# Python runs on while C++ works.
import itk  # noqa: E402
import numpy as np  # noqa: E402

image = itk.image_from_array(np.random.default_rng(1).random((96, 128, 128), dtype=np.float32) + 1.0)
corrector = itk.N4BiasCorrectionChainFilter.New(image, shrink_factor=1)
ended = threading.Event()
counted = 0


def count():
    global counted
    while not ended.wait(0.001):
        counted += 1


counter = threading.Thread(target=count)
counter.start()
corrector.Update()
seen = counted
ended.set()
counter.join()
assert seen > 20, f"another thread came {seen} times to its turn"

# Nothing of torch is exported by the module's extension, nor by its library.
folder = pathlib.Path(itk.__file__).parent
for pattern, own in (("_GliomaGradingPython*.so", "PyInit__GliomaGradingPython"), ("*GliomaGrading-*.so.?", "N3itk10TorchModel")):
    files = [file for file in folder.glob(pattern) if "Test" not in file.name]
    assert len(files) == 1, (pattern, files)
    symbols = subprocess.run(["nm", "-D", "--defined-only", str(files[0])], check=True, capture_output=True, text=True).stdout
    assert own in symbols, files[0]
    torch_symbols = re.findall(r"\S*(?:3c10|2at|5torch|6caffe2)(?=\d)\S*", symbols)
    assert not torch_symbols, (files[0], torch_symbols[:5])
