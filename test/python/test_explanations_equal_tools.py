#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""GradCAM and guided backpropagation of C++ against Captum, MONAI and pytorch-grad-cam where these are right, on one network
with module ReLUs; and where they are not, what they give instead.

python3 test_explanations_equal_tools.py RUN_BUNDLE EXPLAIN_PROGRAM      Exit code 77: none of the tools is installed.
"""
import copy
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import explanation_tools
import pereira_networks as pn
from compare_with_pytorch import randomize

SIZE = (80, 88, 72)  # x, y, z
NAMES = (*explanation_tools.LAYERS, "guided")


def ours(program, bundle, folder, x, label, shapes):
    source = os.path.join(folder, "in.f32")
    x.permute(0, 2, 3, 4, 1).contiguous().numpy().tofile(source)
    prefix = os.path.join(folder, f"{label}-")
    answer = subprocess.run(
        [program, bundle, source, *map(str, reversed(x.shape[2:])), str(label), prefix],
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.split() == ["12", "12"], answer.stdout
    return {name: torch.from_numpy(np.fromfile(prefix + name, np.float32)).reshape(shapes[name]) for name in NAMES}


def difference(a, b):
    return ((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item()


def document_what_differs(model, x, found):
    """Known defects of the tools (versions at the time of writing: Captum 0.9.0, MONAI 1.6.1)."""
    leaf = x.clone().requires_grad_()
    model(leaf)[0, 0].backward()
    plain = explanation_tools.volume(leaf.grad)
    guided = found[0]["guided"]
    assert difference(plain, guided) > 0.1
    try:
        from captum.attr import GuidedBackprop

        # Functional ReLUs are not overridden: the plain gradient, under the name of guided backpropagation.
        functional = explanation_tools.volume(GuidedBackprop(copy.deepcopy(model)).attribute(x.clone().requires_grad_(), 0))
        print(
            f"Captum, functional ReLUs: {difference(functional, plain):.1e} from the plain gradient, "
            f"{difference(functional, guided):.1e} from guided backpropagation"
        )
        assert difference(functional, plain) < 1e-5 and difference(functional, guided) > 0.1
    except ImportError:
        pass
    try:
        from monai.visualize import GradCAM, GuidedBackpropGrad

        # Only modules whose name contains "relu" are replaced, and functional ReLUs are none.
        functional = explanation_tools.volume(GuidedBackpropGrad(copy.deepcopy(model))(x.clone(), index=0))
        print(f"MONAI, functional ReLUs: {difference(functional, plain):.1e} from the plain gradient")
        assert difference(functional, plain) < 1e-5
        # The default normalizer maps the peak to 0.
        label = 0 if found[0]["res3"].max() > 0 else 1
        flipped = GradCAM(explanation_tools.WithModules(copy.deepcopy(model)), "network.res3", upsampler=lambda shape: torch.nn.Identity())(
            x, class_idx=label
        )
        peak = found[label]["res3"].argmax()
        print(f"MONAI, default normalizer: {float(flipped.reshape(-1)[peak]):.3f} at the peak, highest {float(flipped.max()):.3f}")
        assert flipped.reshape(-1)[peak] == flipped.min() and flipped.max() > flipped.min()
        # Its default upsampler stretches the cells over the whole region, and what comes back has lost its affine: what the first cell
        # saw, 17.5 voxels from the edge, is drawn at the edge.
        from monai.data import MetaTensor

        scan = MetaTensor(x.clone(), affine=torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0])))
        drawn = GradCAM(explanation_tools.WithModules(copy.deepcopy(model)), "network.res3", postprocessing=lambda map_: map_)(
            scan, class_idx=label
        )
        cells = np.array(found[label]["res3"].shape[:3])
        cell = np.array(np.unravel_index(int(peak), cells))
        at = np.array(np.unravel_index(int(drawn.argmax()), drawn.shape[2:]))
        stretch = np.array(x.shape[2:]) / cells
        print(
            f"MONAI, upsampled: the peak's cell lies at {17.5 + 4.0 * cell}, is drawn at {at}; of the first cell at {0.5 * stretch - 0.5}"
        )
        plain = GradCAM(explanation_tools.WithModules(copy.deepcopy(model)), "network.res3")(scan, class_idx=label)
        assert type(plain) is torch.Tensor and not hasattr(plain, "affine")  # its default normalizer drops it
        assert (np.abs(at - ((cell + 0.5) * stretch - 0.5)) <= 0.5 * stretch + 1.0).all() and (0.5 * stretch - 0.5 < 8.0).all()
    except ImportError:
        pass


def main():
    write, explain = sys.argv[1:3]
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        bundle = os.path.join(folder, "bundle")
        subprocess.run([write, "write", "grading", "4", "0", "0", "0", bundle], check=True)
        model = randomize(pn.network_of_bundle(bundle))
        pn.replace_weights(bundle, model)
        x = pn.golden_input(7, SIZE, 4)
        tools = list(explanation_tools.installed(copy.deepcopy(model)))
        if not tools:
            print("skipped: none of Captum, MONAI and pytorch-grad-cam is installed")
            sys.exit(77)
        found = {}
        for label in (0, 1):
            # A new copy of the network for each: hooks that one tool leaves change what the next one finds.
            expected = {name: explanation_tools.installed(copy.deepcopy(model))[name](x, label) for name in tools}
            shapes = {name: map_.shape for name, map_ in next(iter(expected.values())).items()}
            found[label] = ours(explain, bundle, folder, x, label, shapes)
            for tool, maps in expected.items():
                for name, truth in maps.items():
                    if truth.abs().max() == 0:  # a layer that is silent for this class
                        assert found[label][name].abs().max() < 1e-6
                        continue
                    off = difference(found[label][name], truth)
                    print(f"class {label}, {tool}, {name} {tuple(truth.shape)}: {off:.1e}")
                    assert off < 1e-4, off
        for name in NAMES:
            assert max(found[label][name].abs().max() for label in (0, 1)) > 0, f"{name} is silent for both classes"
        document_what_differs(model, x, found)


if __name__ == "__main__":
    main()
