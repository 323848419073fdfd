"""`archcalc`: the group of commands, each imported when it is called, and the way every error is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from archcalc._version import __version__
from archcalc.cli.language import current
from archcalc.errors import ArchcalcError, nearest, printable
from archcalc.render.output import discard_output

# Name → (module in this package, what the list of commands says).
COMMANDS = {
    "report": ("report", "A model's parameters: totals, shares, every weight."),
    "explain": ("explain", "Each figure's formula, in symbols and in numbers."),
    "flops": ("flops", "What a prefill, a decode step or a training step computes."),
    "memory": ("memory", "Bytes of the weights and of the cache."),
    "sweep": ("sweep", "Every combination of some fields' values, a row each."),
    "diff": ("diff", "What differs between two models, component by component."),
    "compare": ("compare", "Many models, one column each."),
    "claims": ("claims", "Published figures held against the exact ones."),
    "verify": ("verify", "Prove the numbers on a PyTorch model built from the same spec."),
    "generate": ("generate", "Go on from a prompt, with real weights."),
    "chat": ("chat", "Talk with a model that was made for it."),
    "next": ("next_token", "Which token comes next, after one context or two side by side."),
    "demo": ("demo", "Small demonstrations, computed as they are shown."),
    "trace": ("trace", "Watch a forward pass, step by step."),
    "fill-mask": ("fill_mask", "What an encoder puts in the place of a mask."),
    "train": ("train", "Train a model from nothing."),
    "taps": ("taps", "The places of a forward pass that can be read and written."),
    "tokenize": ("tokenize", "How tokenizers split a text, and what their vocabularies cost."),
    "app": ("app", "The dashboard, in a browser."),
    "coverage": ("coverage", "Which model types are read, compared with transformers."),
    "presets": ("presets", "The models that come with archcalc."),
    "new": ("new", "Start a spec of your own from a commented template."),
    "schema": ("schema", "The JSON Schema of a spec, for editors."),
    "completion": ("completion", "A script that completes commands and presets in your shell."),
}

EPILOG = """\b
Examples:
  archcalc report gpt3
  archcalc report llama-3-8b --set n_layers=48 --view weights
  archcalc report config.json --format json
  archcalc explain gpt3 attention
  archcalc verify mixtral-8x7b --against transformers

SOURCE is a preset, a YAML spec, a Hugging Face config.json (or a folder with one), a repo id, or - for standard input.
"""


class _SpokenError(click.ClickException):
    """An error in the language of the command that it ended."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = exit_code


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that `--help` and errors cost nothing else."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"archcalc.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` call; a slip gets the nearest name."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise click.UsageError(
                f"no command {args[0]!r}{nearest(args[0], COMMANDS)}; allowed: {', '.join(COMMANDS)}"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; an error names options where the library names parameters."""
        try:
            return super().invoke(ctx)
        except ArchcalcError as error:
            if command := self.get_command(ctx, ctx.invoked_subcommand or ""):
                error.rename_parameters(_options(command))
            raise _SpokenError(error.text(current()), error.exit_code) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _options(command: click.Command) -> dict[str, str]:
    """Return what a command calls each parameter: its long option, or the argument as in the usage line.

    An option stands under its own name too: `optimizer` for --optimizer, whatever its parameter is called.
    """
    found: dict[str, str] = {}
    for param in command.params:
        if isinstance(param, click.Option):
            option = next((name for name in param.opts if name.startswith("--")), param.opts[0])
            found |= dict.fromkeys((str(param.name), option.lstrip("-").replace("-", "_")), option)
        else:
            found[str(param.name)] = param.human_readable_name
    return found


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="archcalc")
def cli() -> None:
    """Exact numbers of any transformer, explained and proven."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and end the process: 0 good, 1 a check did not hold, 2 bad input, 130 interrupted."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. What goes wrong is told in one line on standard error."""
    try:
        code = cli.main(args, prog_name="archcalc", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except _SpokenError as error:
        return _fail(error.format_message(), error.code)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except ArchcalcError as error:
        return _fail(error.text(current()), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    except OSError as error:
        discard_output()
        return _fail(f"cannot be written or read ({error.strerror or error})", 2)


def _fail(message: str, code: int) -> int:
    click.echo(f"archcalc: {printable(' '.join(message.split()))}", err=True)
    return code
