"""`archcalc schema`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click

from archcalc.cli.language import emit, lang
from archcalc.cli.options import FILE
from archcalc.render.meanings import MEANINGS
from archcalc.render.page import Page
from archcalc.results import json_schema
from archcalc.spec import schema as spec_schema

# What each command prints as JSON.
RESULTS: Final = {
    "attention": "archcalc.interp.heads.result:Attentions",
    "attribute": "archcalc.interp.heads.attribution_result:LogitAttribution",
    "claims": "archcalc.analysis.papers.claim_results:ClaimResults",
    "compare": "archcalc.contract:Reports",
    "coverage": "archcalc.coverage:Coverage",
    "demo": "archcalc.interp.demos.results:DemoList",
    "demo-cost": "archcalc.interp.demos.results:CostDemo",
    "demo-dropout": "archcalc.interp.demos.results:DropoutDemo",
    "demo-positions": "archcalc.interp.demos.results:PositionsDemo",
    "demo-softmax": "archcalc.interp.demos.results:SoftmaxDemo",
    "demo-step": "archcalc.interp.demos.results:TrainingStepDemo",
    "diff": "archcalc.analysis.comparison:ModelDifference",
    "embed-analogy": "archcalc.interp.embed.result:Analogy",
    "embed-contexts": "archcalc.interp.embed.result:ContextualSimilarity",
    "embed-near": "archcalc.interp.embed.result:NearestTokens",
    "embed-project": "archcalc.interp.embed.result:Projection",
    "explain": "archcalc.analysis.formulas:Explanation",
    "fill-mask": "archcalc.run.decoding.mask_prediction:MaskPredictions",
    "flops": "archcalc.analysis.workload_flops:WorkloadFlops",
    "flops-plot": "archcalc.analysis.context:ContextFlops",
    "generate": "archcalc.run.decoding.completion:GeneratedTexts",
    "lens": "archcalc.interp.lens.result:LensPredictions",
    "lens-train": "archcalc.interp.lens.result:TrainedLens",
    "memory": "archcalc.analysis.inference_memory:InferenceMemory",
    "memory-lora": "archcalc.analysis.lora:LoraMemory",
    "memory-tp": "archcalc.analysis.shards:ShardedMemory",
    "memory-train": "archcalc.analysis.training_memory:TrainingMemory",
    "next": "archcalc.interp.next_token_result:NextTokenDistributions",
    "patch": "archcalc.interp.patch.result:ActivationPatching",
    "patchscope": "archcalc.interp.patchscope.result:PatchscopeResult",
    "presets": "archcalc.analysis.preset_totals:PresetList",
    "report": "archcalc.contract:Report",
    "report-files": "archcalc.analysis.file_tensors:FileTensors",
    "report-transformers": "archcalc.contract:CountedReport",
    "steer": "archcalc.interp.steer.result:Steering",
    "structures": "archcalc.analysis.token_path:TokenPaths",
    "sweep": "archcalc.analysis.sweep.result:Sweep",
    "taps": "archcalc.analysis.site_shapes:SiteList",
    "tokenize": "archcalc.text.measurement:Tokenization",
    "trace": "archcalc.interp.trace.result:ForwardTrace",
    "train": "archcalc.run.train.result:TrainingRun",
    "verify": "archcalc.proof:Comparisons",
}


@click.command("schema")
@click.argument("result", type=click.Choice(["spec", *RESULTS]), default="spec")
@click.option("-o", "--output", type=FILE, help="Write to this file instead of standard output.")
@lang
def command(result: str, output: str | None) -> None:
    """Print the JSON Schema of a spec, for editors that validate and complete YAML.

    RESULT chooses the JSON that a command prints instead: `archcalc schema memory` is that of
    `archcalc memory --format json`.
    """
    emit(lambda: Page("schema"), lambda: schema(result), "json", output=output)


def schema(result: str) -> dict[str, Any]:
    """Return the schema of a spec or of a command's JSON; fields are described as in the dashboard and in tables."""
    if result == "spec":
        return spec_schema.json_schema({name: str(meaning) for name, meaning in MEANINGS.items()})
    module, name = RESULTS[result].split(":")
    return json_schema(getattr(import_module(module), name))
