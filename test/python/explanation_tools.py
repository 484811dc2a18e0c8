# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Captum, MONAI and pytorch-grad-cam on the paper's grading network: each a function that gives both GradCAMs and guided
backpropagation, as raw as the tool has them. Tools that are not installed are left out.
"""
import importlib.metadata
import sys
import types
import warnings
from importlib.util import find_spec

import torch

import pereira_networks as pn

LAYERS = ("res3", "res4")


class WithModules(torch.nn.Module):
    """The network with twelve ReLUs that are modules, which is what all of these tools look for."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.activations = torch.nn.ModuleDict({f"relu{i}": torch.nn.ReLU() for i in range(12)})

    def forward(self, x):
        relus = iter(self.activations.values())
        functional = pn.functional
        pn.functional = types.SimpleNamespace(**{**vars(functional), "relu": lambda y: next(relus)(y)})
        try:
            return self.network(x)
        finally:
            pn.functional = functional


def volume(tensor):
    """[1, C, z, y, x] with x fastest and the channels last, as the C++ maps are."""
    return tensor.detach()[0].permute(1, 2, 3, 0)


def captum(network):
    from captum.attr import GuidedBackprop, LayerGradCam

    model = WithModules(network)
    cams = {name: LayerGradCam(model, getattr(network, name)) for name in LAYERS}
    guided = GuidedBackprop(model)

    def explain(x, label):
        leaf = x.clone().requires_grad_()
        maps = {name: volume(cam.attribute(leaf, label, relu_attributions=True)) for name, cam in cams.items()}
        maps["guided"] = volume(guided.attribute(leaf, label))
        return maps

    return explain


def monai(network):
    from monai.visualize import GradCAM, GuidedBackpropGrad

    model = WithModules(network)
    cams = {name: GradCAM(model, f"network.{name}") for name in LAYERS}
    guided = GuidedBackpropGrad(model)

    def explain(x, label):
        leaf = x.clone().requires_grad_()
        maps = {name: volume(cam.compute_map(leaf, class_idx=label)) for name, cam in cams.items()}
        maps["guided"] = volume(guided(x.clone(), index=label))
        return maps

    return explain


def pytorch_grad_cam(network):
    """Its call for guided backpropagation ends in a transposition of two axes, which a volume does not survive: the model
    that it edits is run by hand. Its GradCAM scales the maps; get_cam_image() does not."""
    if "torchvision" not in sys.modules and find_spec("torchvision") is None:  # imported by it, and not used here
        names = ("torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.transforms.functional")
        sys.modules.update({name: types.ModuleType(name) for name in names})
        for name in ("Compose", "Normalize", "ToTensor"):
            setattr(sys.modules["torchvision.transforms"], name, None)
        sys.modules["torchvision.transforms.functional"].resize = None
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.guided_backprop import GuidedBackpropReLUasModule
    from pytorch_grad_cam.utils.find_layers import replace_all_layer_type_recursive
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model, edited = WithModules(network), WithModules(network)
    replace_all_layer_type_recursive(edited, torch.nn.ReLU, GuidedBackpropReLUasModule())
    layers = [getattr(network, name) for name in LAYERS]

    def explain(x, label):
        maps = {}
        # Hooks of an earlier call stay on the modules otherwise.
        with GradCAM(model=model, target_layers=layers) as cam:
            targets = [ClassifierOutputTarget(label)]
            leaf = x.clone().requires_grad_()
            output = cam.activations_and_grads(leaf)
            sum(target(o) for target, o in zip(targets, output)).backward()
            kept = cam.activations_and_grads
            for i, name in enumerate(LAYERS):
                arrays = [list_[i].detach().numpy() for list_ in (kept.activations, kept.gradients)]
                image = cam.get_cam_image(leaf, layers[i], targets, *arrays)
                maps[name] = volume(torch.from_numpy(image)[:, None].clamp(min=0))
        leaf = x.clone().requires_grad_()
        edited(leaf)[0, label].backward()
        maps["guided"] = volume(leaf.grad)
        return maps

    return explain


def installed(network):
    """Name and version to function."""
    found = {}
    for make, package in ((captum, "captum"), (monai, "monai"), (pytorch_grad_cam, "pytorch_grad_cam")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function = make(network)
            version = importlib.metadata.version(package.replace("pytorch_grad_cam", "grad-cam"))
            found[f"{package.replace('_', '-')} {version}"] = function
        except ImportError as error:
            print(f"without {package}: {error}")
    return found
