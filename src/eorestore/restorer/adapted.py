"""The copy of a model that learned from the scene of a run: made, found again in its journal, kept as a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eorestore.models.checkpoint import save_adapted, save_checkpoint
from eorestore.models.model import Model
from eorestore.models.scene_enlargement import SceneEnlargement
from eorestore.processing import BandScaling, Processor
from eorestore.restorer.journal import Journal
from eorestore.restorer.output import CHECKPOINT, Target
from eorestore.restorer.plan import LOW
from eorestore.restorer.provenance import file_facts, file_hash
from eorestore.restorer.request import Inputs, Request
from eorestore.restorer.restore import Restorer
from eorestore.restorer.rows import Progress
from eorestore.restorer.scene import MaskOfWindow
from eorestore.restorer.zero_shot_recipe import SceneTask


@dataclass(frozen=True)
class Adapted:
    """A model that learned from the scene. words: what was done, for a tag. facts: the same for the sidecar."""

    model: Model
    words: str
    facts: Mapping[str, Any]


def adapt_to(
    request: Request,
    restorer: Restorer,
    inputs: Inputs,
    mask: MaskOfWindow | None,
    journal: Journal | None,
    *,
    nothing: bool,
    progress: Progress | None,
) -> Adapted | None:
    """The copy that learned from the scene, if that is asked for; a resumed run learns the same again, or has it.

    nothing: whether no pixel is to be restored.
    """
    if request.zero_shot is not None:
        return _learn_scene(request.zero_shot, restorer, inputs, journal, progress=progress)
    if not request.adapt or nothing:
        return None
    from eorestore.restorer.adaptation import adapt

    adapted = adapt(
        restorer.model,
        restorer.processor,
        restorer.sample(inputs.scene, mask),
        steps=request.adapt,
        seed=request.adapt_seed,
        progress=progress,
    )
    if request.save_adapted is not None:
        told = {"scene": file_facts(inputs.optical)["files"], **adapted.to_json()}
        save_adapted(
            request.save_adapted, adapted.model, restorer.processor, config=restorer.facts.config, adapted=told
        )
    return Adapted(adapted.model, adapted.words, adapted.to_json())


def keep_learned(
    target: Target, request: Request, restorer: Restorer, inputs: Inputs, adapted: Adapted
) -> dict[str, Any]:
    """Write the network that learned the scene as a checkpoint, if asked for; what the sidecar says of it.

    The folder can be the start of another scene: `network.start=FOLDER`. Its processor is that of the first band.
    Raises WriteError.
    """
    if CHECKPOINT not in request.beside:
        return {}
    enlarging: SceneEnlargement = adapted.model  # type: ignore[assignment]
    network, folder = enlarging.network, target.beside(CHECKPOINT)
    scaling = BandScaling(restorer.processor.inputs[LOW].bands[:1])
    provenance = {
        "scene": file_facts(inputs.optical)["files"],
        "bands": list(inputs.optical.bands.names),
        "zero_shot": dict(adapted.facts),
    }
    save_checkpoint(
        folder,
        network,
        Processor({LOW: scaling}, scaling, network.scale),
        task="zero-shot",
        provenance=provenance,
        tile=restorer.facts.tile,
        overlap=restorer.facts.overlap,
        card=_card(inputs, network, adapted, folder.name),
    )
    weights = file_hash(folder / "model.safetensors")
    return {"checkpoint": {"folder": folder.name, "weights_sha256": weights, **_decided(adapted)}}


def _decided(adapted: Adapted) -> dict[str, Any]:
    return {"stages": adapted.facts["stages"], "share_of_network": adapted.facts["share_of_network"]}


def _learn_scene(
    task: SceneTask, restorer: Restorer, inputs: Inputs, journal: Journal | None, *, progress: Progress | None
) -> Adapted:
    """The network that learned the scene, or that of the interrupted run."""
    from eorestore.restorer.zero_shot import learn, learned_before

    stored = None if journal is None or journal.rows_done == 0 else journal.load_learned()
    if stored is not None:
        return Adapted(learned_before(restorer, *stored), stored[1]["words"], stored[1]["told"])
    found = learn(task, inputs.optical, restorer, progress=progress)
    if journal is not None:
        told = {"words": found.words, "told": found.to_json(), "stages": found.stages_json()}
        journal.save_learned(found.model.network.state_dict(), told)
    return Adapted(found.model, found.words, found.to_json())


def _card(inputs: Inputs, network: Model, adapted: Adapted, folder: str) -> str:
    """What the folder's README says."""
    facts = adapted.facts
    judged, share = facts["judged"], facts["share_of_network"]
    lines = [
        f"# A network that learned {inputs.optical.path.name}",
        "",
        f"It enlarges one band {network.scale} times at once; the scene was made larger by "
        f"{', then '.join(map(str, facts['stages']))}. It knows this scene and what it was started from; for other "
        "scenes it is a beginning to learn from:",
        "",
        f"    eorestore zero-shot OTHER.tif --scale {facts['scale']} -s network.start={folder} -o OUT.tif",
        "",
        f"- what was done: {adapted.words}",
        f"- sensor: {facts['sensor']}",
        f"- started from: {facts['start'] or 'drawn weights'}",
        f"- share of the network in the result: {share:g}; the rest is bicubic enlargement with the same means",
    ]
    if judged is not None:
        lines.append(
            f"- error on squares that were not learned: {judged['rmse_blend']:.4g}, of bicubic enlargement with the "
            f"same means {judged['rmse_bicubic']:.4g}, in the unit of the first band"
        )
    return "\n".join([*lines, "", "The recipe stands in config.json under provenance.", ""])
