# SPDX-FileCopyrightText: Copyright NumFOCUS
# SPDX-License-Identifier: Apache-2.0
"""Does an explanation depend on the model, and the model on what it points at? By running the model again and again."""

import dataclasses
from typing import Any, Union
from collections.abc import Mapping, Sequence

from . import _library
from ._documentation import documented
from ._parameters import name_list, set_parameters
from .filters import GEOMETRY_TOLERANCE, _class_number, _classified
from .images import PathLike, to_vector_volume
from .model import Model, as_model


def _explained_class(label: Union[None, int, str], volume: Any, model: Model) -> int:
    """The same class as the maps are of."""
    names = list(model.manifest.class_names)
    number = _class_number(label, names)
    return number if number >= 0 else names.index(_classified(volume, model).get_grade_name())


@dataclasses.dataclass(frozen=True)
class Faithfulness:
    """Probabilities of a class while blocks of the region are taken away or put in, those that the map names first."""

    deletion_curve: tuple[float, ...]
    insertion_curve: tuple[float, ...]
    #: Areas under the curves; a faithful map has a small one of deletion and a large one of insertion.
    deletion_area: float
    insertion_area: float
    #: Of blocks in random order; NaN without any.
    chance_deletion_area: float
    chance_insertion_area: float


@documented("ExplanationFaithfulnessCalculator")
def explanation_faithfulness(
    region: Any,
    model: Union[Model, PathLike],
    map: Any,
    *,
    class_to_explain: Union[None, int, str] = None,
    baseline: Sequence[float] = (),
    block_size: int = 8,
    number_of_steps: int = 10,
    number_of_chance_orders: int = 1,
    seed: int = 1,
) -> Faithfulness:
    """Deletion and insertion: does the class hang on what the map points at?

    class_to_explain: that of the map, by name or number; default the predicted one.
    """
    loaded = as_model(model)
    run = _library.core().ExplanationFaithfulness()
    volume, _ = to_vector_volume(region, GEOMETRY_TOLERANCE)
    run.set_region(volume)
    run.set_map(to_vector_volume(map, GEOMETRY_TOLERANCE)[0])
    run.set_model(loaded._model)
    set_parameters(
        run,
        class_to_explain=_explained_class(class_to_explain, volume, loaded),
        baseline=baseline,
        block_size=block_size,
        number_of_steps=number_of_steps,
        number_of_chance_orders=number_of_chance_orders,
        seed=seed,
    )
    run.compute()
    _library.pass_on_warnings()
    return Faithfulness(tuple(run.get_deletion_curve()), tuple(run.get_insertion_curve()), *run.get_areas())


@dataclasses.dataclass(frozen=True)
class Sanity:
    """Maps of a network whose layers become random one after the other, beside those of the trained one."""

    #: In their order.
    randomized_layers: tuple[str, ...]
    #: Of each map ("gradcam-res3", "guided-backprop") after each layer; near 0: the map depends on the weights.
    rank_correlations: Mapping[str, tuple[float, ...]]
    similarities: Mapping[str, tuple[float, ...]]


@documented("ExplanationSanityCalculator")
def explanation_sanity(
    region: Any,
    model: Union[Model, PathLike],
    layers: Union[str, Sequence[str]] = (),
    *,
    class_to_explain: Union[None, int, str] = None,
    seed: int = 1,
) -> Sanity:
    """Do the maps change where the weights become random? For the module's own grading network.

    class_to_explain: name or number; default the predicted one.
    """
    loaded = as_model(model)
    run = _library.core().ExplanationSanity()
    volume, _ = to_vector_volume(region, GEOMETRY_TOLERANCE)
    run.set_region(volume)
    run.set_model(loaded._model)
    for layer in name_list(layers, "layers"):
        run.add_layer_name(layer)
    set_parameters(run, class_to_explain=_explained_class(class_to_explain, volume, loaded), seed=seed)
    run.compute()
    _library.pass_on_warnings()
    names = list(run.get_map_names())
    return Sanity(
        tuple(run.get_randomized_layers()),
        {name: tuple(run.get_rank_correlations(i)) for i, name in enumerate(names)},
        {name: tuple(run.get_similarities(i)) for i, name in enumerate(names)},
    )
