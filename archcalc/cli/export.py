"""`archcalc export`."""

from __future__ import annotations

import json
from typing import Final, Literal, get_args

import click

from archcalc.cli.language import lang
from archcalc.cli.options import load_source, settings, source
from archcalc.render.output import emit_text

Target = Literal["hf-config", "yaml"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)


@click.command("export")
@source()
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="What to write.")
@settings
@click.option("-o", "--output", metavar="FILE", help="File to write (default: standard output).")
@lang
def command(source: str, target: Target, settings: tuple[str, ...], output: str | None) -> None:
    """Write a model as a Hugging Face config.json or as a YAML spec.

    From the config, transformers builds a model with the same tensors. The YAML states every size. A spec that no model
    type of transformers has is refused, with the fields that do not fit.

    \b
    Examples:
      archcalc export llama-3-8b --to hf-config -o config.json
      archcalc export config.json --to yaml --set n_layers=12 -o small.yaml
    """
    spec = load_source(source, settings)
    if target == "yaml":
        from archcalc.spec.yaml_writer import as_yaml

        text = as_yaml(spec)
    else:
        from archcalc.hf import to_config

        text = json.dumps(to_config(spec), indent=2, ensure_ascii=False) + "\n"
    emit_text(text, output)
