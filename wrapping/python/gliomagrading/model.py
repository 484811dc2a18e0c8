# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Bundles and model files: load, inspect, run."""

import dataclasses
import os
from typing import Any, Literal, Optional, Union
from collections.abc import Sequence

from . import _library
from ._parameters import set_members, set_parameters, whole_number
from .errors import InputError, ModelError
from .images import PathLike, path_text

Task = Literal["segmentation", "grading"]
Precision = Literal["float32", "bfloat16"]

_PRECISIONS = ("float32", "bfloat16")
_DEMONSTRATIONS = ("segmentation", "grading", "brain-grading")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a bundle says of its model (itk::TorchModelManifest). An absent value is empty or 0; nothing is guessed.

    dataclasses.replace() makes another one.
    """

    name: str = ""
    version: str = ""
    task: str = ""
    network: str = ""
    width: int = 0
    groups: int = 1
    levels: int = 0
    padded: bool = False
    channel_names: Sequence[str] = ()
    class_names: Sequence[str] = ()
    output_activation: str = ""
    axis_order: str = ""
    orientation: str = ""
    spacing: Sequence[float] = (0.0, 0.0, 0.0)
    bias_correction: str = ""
    lower_quantile: float = 0.0
    upper_quantile: float = 1.0
    standardization: str = ""
    outside_value: float = 0.0
    region: str = ""
    fit_mode: str = ""
    margin: float = 0.0
    output_size: int = 0
    minimum_component_share: float = 0.05
    temperature: float = 1.0
    patch_size: Sequence[int] = (0, 0, 0)
    halo: int = 0
    tile_step: int = 1
    instruction_set: str = ""
    weights_file: str = ""
    weights_bytes: int = 0
    weights_sha256: str = ""
    training_data: str = ""
    intended_use: str = ""
    licence: str = ""
    demonstration: bool = False


def _from_core(said: Any) -> Manifest:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Manifest):
        value = getattr(said, field.name)
        values[field.name] = value if isinstance(value, (str, int, float, bool)) else tuple(value)
    return Manifest(**values)


def _to_core(manifest: Manifest) -> Any:
    made = _library.core().TorchModelManifest()
    set_members(made, **{field.name: getattr(manifest, field.name) for field in dataclasses.fields(Manifest)})
    return made


def demonstration_bundle(task: str) -> str:
    """Folder of the demonstration bundle that comes with the package; brain-grading: the grader of the whole brain."""
    if task not in _DEMONSTRATIONS:
        raise InputError(f"The task is {task!r}; give one of {', '.join(_DEMONSTRATIONS)}.")
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "share", "GliomaGrading", "models", task)
    if not os.path.isfile(os.path.join(folder, "configs", "metadata.json")):
        raise FileNotFoundError(f"The demonstration bundle is not in {folder}; give the path of a bundle.")
    return folder


class Model:
    """A loaded network: of a bundle folder, or of a lone model file with the manifest that it lacks.

    path: the bundle; 'segmentation', 'grading' and 'brain-grading' alone name the demonstration bundles.
    trust_model: consent to load a file that is a program (TorchScript, .pt2).
    threads: of torch; 0: those of set_number_of_threads().
    load: False reads the manifest alone; load() does the rest.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        trust_model: bool = False,
        device: str = "cpu",
        precision: Precision = "float32",
        threads: int = 0,
        manifest: Optional[Manifest] = None,
        load: bool = True,
    ) -> None:
        name = path_text(path)
        if name in _DEMONSTRATIONS and not os.path.exists(name):
            name = demonstration_bundle(name)
        if not os.path.exists(name):
            raise FileNotFoundError(f"There is no model at {name}; give a bundle folder or a model file.")
        name = os.path.abspath(name)  # another process may stand in another folder
        if precision not in _PRECISIONS:
            raise InputError(f"precision is {precision!r}; give one of {', '.join(_PRECISIONS)}.")
        self._options: dict[str, Any] = {
            "path": name,
            "trust_model": trust_model,
            "device": device,
            "precision": precision,
            "threads": threads,
            "manifest": manifest,
            "load": load,
        }
        self._model = _library.core().Model()
        self._model.set_path(name)
        self._model.set_trust_model_code(bool(trust_model))
        if whole_number(threads, "threads") < 0:
            raise InputError(f"threads is {threads}; give 0 (those of set_number_of_threads()) or more.")
        set_parameters(self._model, device=device, precision=_PRECISIONS.index(precision), number_of_threads=threads)
        if manifest is not None:
            self._model.set_manifest(_to_core(manifest))
        if load:
            self.load()
        elif manifest is None:
            self._model.read_manifest()
        _library.pass_on_warnings()

    def load(self) -> "Model":
        """Loads the weights where that was left out; gives the model itself."""
        try:
            self._model.load()
        except ModelError as error:
            # What gives consent in C++ and on the command line has another name here.
            raise ModelError(str(error).replace("SetTrustModelCode(true), or --trust-model", "trust_model=True")) from None
        self._options["load"] = True
        _library.pass_on_warnings()
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._options,)

    def __repr__(self) -> str:
        return f"<gliomagrading.Model {self.manifest.name or os.path.basename(self.path)} ({self.manifest.task})>"

    @property
    def path(self) -> str:
        return str(self._model.get_path())

    @property
    def manifest(self) -> Manifest:
        """What the model expects."""
        return _from_core(self._model.get_manifest())

    @property
    def training_cases(self) -> list[tuple[str, str, str]]:
        """Case, licence and attribution of each training case."""
        said = list(self._model.get_training_cases())
        return list(zip(said[0::3], said[1::3], said[2::3]))

    @property
    def is_loaded(self) -> bool:
        return bool(self._model.is_loaded())

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers that grad_cam() can explain."""
        return tuple(self._model.get_layer_names())

    @property
    def number_of_parameters(self) -> int:
        return int(self._model.get_number_of_parameters())

    def verify(self) -> bool:
        """Runs the golden pair of the bundle; an exception where the output differs, False where there is none."""
        return bool(self._model.verify_golden_pair())

    def run(self, image: Any, **parameters: Any) -> Any:
        """torch_segmentation() or grade_classifier() with this model, as its task says."""
        from . import filters

        if self.manifest.task == "grading":
            return filters.grade_classifier(image, self, **parameters)
        return filters.torch_segmentation(image, self, **parameters)


def _load(options: dict[str, Any]) -> Model:
    options = dict(options)
    return Model(options.pop("path"), **options)


def as_model(model: Union[Model, PathLike]) -> Model:
    """The model itself, or the one at a path."""
    return model if isinstance(model, Model) else Model(model)


def write_seeded_bundle(path: PathLike, manifest: Manifest, seed: int) -> None:
    """Writes a bundle of one of the module's networks with weights drawn from a seed: untrained, for tests."""
    _library.core().Model.write_seeded_bundle(path_text(path), _to_core(manifest), whole_number(seed, "seed"))
