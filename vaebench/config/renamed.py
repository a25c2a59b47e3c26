"""Names that changed: classes that moved, options that were renamed or added.

The config hash contains the `_target_` and the options of every part that is trained. It is computed with the
names of the time of the first run; everything else uses today's names. Stored configs and user files may use
any earlier name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vaebench.errors import UserError

MOVED: dict[str, str] = {  # an earlier target -> today's; of several, the first one listed is hashed
    "vaebench.models.sequential.SequentialVAE": "vaebench.models.sequential_vae.SequentialVAE",
    # Evaluators are not hashed; these keep users' suites working.
    **{
        f"vaebench.evaluation.{old}": f"vaebench.evaluation.{new}"
        for old, new in {
            "active_units.ActiveUnits": "latent.active_units.ActiveUnits",
            "ais.AnnealedImportanceSampling": "likelihood.ais.AnnealedImportanceSampling",
            "bound.Bound": "likelihood.bound.EvidenceLowerBound",
            "density_ratio_mi.DensityRatioMI": "information.density_ratio_mi.DensityRatioMI",
            "distances.CodeDistances": "latent.code_distances.CodeDistances",
            "figures.LatentSpectrum": "samples.pictures.LatentSpectrum",
            "figures.LatentTSNE": "samples.pictures.LatentTSNE",
            "figures.LatentTraversal": "samples.pictures.LatentTraversal",
            "figures.PriorSamples": "samples.pictures.PriorSamples",
            "figures.Reconstructions": "samples.pictures.Reconstructions",
            "figures.TrainingCurves": "samples.pictures.TrainingCurves",
            "fisher_shannon.FisherShannon": "latent.fisher_shannon.FisherShannon",
            "information_curves.InformationCurves": "information.information_curves.InformationCurves",
            "layer_fisher.LayerFisher": "layers.fisher.LayerFisher",
            "layer_tsne.LayerTSNE": "layers.tsne.LayerTSNE",
            "markov_chain.MarkovChain": "samples.markov_chain.MarkovChain",
            "mutual_information.MutualInformation": "information.mutual_information.MutualInformation",
            "nll.ImportanceSampledNLL": "likelihood.nll.ImportanceSampledNLL",
            "posterior_gaps.PosteriorGaps": "likelihood.posterior_gaps.PosteriorGaps",
            "probes.MLPProbe": "latent.probes.MLPProbe",
            "probes.SVMProbe": "latent.probes.SVMProbe",
            "propagation.Propagation": "information.propagation.Propagation",
            "rate_distortion.RateDistortion": "likelihood.rate_distortion.RateDistortion",
            "sentences.Sentences": "samples.sentences.Sentences",
            "sequential.StepByStep": "samples.step_by_step.StepByStep",
            "variance_map.PosteriorVarianceMap": "latent.variance_map.PosteriorVarianceMap",
        }.items()
    },
}

RENAMED: dict[str, dict[str, str]] = {  # today's target -> an earlier option -> today's
    "vaebench.networks.gated_pixelcnn.GatedPixelCNNDecoder": {"starts_from_data": "init_from_data"},
}

ADDED: dict[str, dict[str, Any]] = {}
"""Today's target -> an option that came later -> the value that reproduces the earlier behaviour.

With that value the option is left out of the hash; a stored config without the option gets it."""


def todays(config: Mapping[str, Any], advise: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Return a config with today's names.

    For a user's config, `advise` gets one line for each name that changed, and an option under both its names
    raises UserError. Without it, as for a stored config, today's name counts.
    """

    def node(value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            return value
        target, changed = str(value.get("_target_")), dict(value)
        if target in MOVED:
            changed["_target_"] = target = MOVED[target]
            if advise:
                advise(f"{path}._target_: {value['_target_']} is now {target}")
        renamed, added = RENAMED.get(target, {}), ADDED.get(target, {})
        for old in renamed.keys() & changed.keys():
            if advise and renamed[old] in changed:
                raise UserError(f"{path}.{old}: this option is now {renamed[old]}, set too; remove one")
            if advise:
                advise(f"{path}.{old}: this option is now {renamed[old]}")
        former = {renamed[old]: changed.pop(old) for old in renamed.keys() & changed.keys()}
        options = former | changed
        return {
            key: node(inner, f"{path}.{key}" if path else str(key))
            for key, inner in (added | options).items()
        }

    return node(config, "")


def first_hashed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of today's names with the names that its hash is computed with."""
    earlier = {new: old for old, new in reversed(MOVED.items())}

    def node(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        target = value.get("_target_")
        if not isinstance(target, str):
            return {key: node(inner) for key, inner in value.items()}
        names = {new: old for old, new in reversed(RENAMED.get(target, {}).items())}
        added = ADDED.get(target, {})
        return {
            names.get(key, key): earlier.get(target, target) if key == "_target_" else node(inner)
            for key, inner in value.items()
            if key not in added or inner != added[key]
        }

    return node(config)


def todays_option(old: str) -> str | None:
    """Return today's name of a former option of any class, or None if no option had this name."""
    return next((names[old] for names in RENAMED.values() if old in names), None)
