"""The `archcalc` command group: lazily imported commands and one-line error reporting."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from archcalc._version import __version__
from archcalc.cli import language
from archcalc.cli.help import click_texts, in_language, stated_lang
from archcalc.cli.language import current, warn
from archcalc.errors import ArchcalcError, InputError, nearest, printable
from archcalc.source_warnings import shown_by
from archcalc.words import LANGS, Message, msg, translator

# Name → (module in this package, help text in the list of commands).
COMMANDS = {
    "report": ("report", "Parameters, FLOPs and memory of a model."),
    "explain": ("explain", "The formula of each figure, in symbols and numbers."),
    "flops": ("flops", "FLOPs of a prefill, a decode step or a training step."),
    "memory": ("memory", "Memory of weights, KV cache, training and adapters."),
    "sweep": ("sweep", "Figures for every combination of field values."),
    "diff": ("diff", "Compare two models: parameters and fields."),
    "compare": ("compare", "Compare several models, one column each."),
    "structures": ("structures", "Models side by side, with the path of one token."),
    "claims": ("claims", "Check published figures against the exact ones."),
    "verify": ("verify", "Check the numbers against a PyTorch model."),
    "generate": ("generate", "Generate text from a prompt."),
    "chat": ("chat", "Chat with an instruction-tuned model."),
    "next": ("next_token", "Probabilities of the next token."),
    "demo": ("demo", "Small demonstrations of how transformers work."),
    "trace": ("trace", "Trace a forward pass step by step."),
    "lens": ("lens", "What each layer would say next."),
    "patch": ("patch", "Activation patching: which parts carry an answer."),
    "patchscope": ("patchscope", "What a hidden vector means, in the model's own words."),
    "embed": ("embed", "Neighbors, analogies and a plane of word vectors."),
    "attention": ("attention", "All attention heads: patterns, figures and kinds."),
    "attribute": ("attribute", "What each head and layer adds to a logit."),
    "steer": ("steer", "Steer a model by a direction from contrasting prompts."),
    "fill-mask": ("fill_mask", "Predict masked tokens with an encoder."),
    "train": ("train", "Train a model from scratch."),
    "taps": ("taps", "Named points of a forward pass, with shapes."),
    "tokenize": ("tokenize", "Compare tokenizers on a text."),
    "app": ("app", "Start the dashboard."),
    "coverage": ("coverage", "Compare every model type with transformers."),
    "presets": ("presets", "List the presets."),
    "export": ("export", "Write a model as a config.json or a YAML spec."),
    "new": ("new", "Create a spec from a commented template."),
    "schema": ("schema", "Print the JSON Schema of a spec."),
    "completion": ("completion", "Print a shell completion script."),
}

# Of torch's messages: no class of errors is common to all of its allocators.
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory")

EPILOG = """\b
Examples:
  archcalc report gpt3
  archcalc report llama-3-8b --set n_layers=48 --view weights
  archcalc report config.json --format json
  archcalc explain gpt3 attention
  archcalc verify mixtral-8x7b --against transformers

SOURCE is a preset, a YAML spec, a Hugging Face config.json (or a folder with one), a repo id, or - for standard input.
"""


class _TranslatedError(click.ClickException):
    """An error with its text in the language of the command."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.code = exit_code


class LazyGroup(click.Group):
    """A group that imports the module of a command when it is called, which keeps `--help` and errors fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"archcalc.cli.{COMMANDS[cmd_name][0]}")
        return in_language(module.command, _lang(ctx))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` name. Raises UsageError with the nearest name for an unknown one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            problem = msg("no command {name}{hint}", name=repr(args[0]), hint=nearest(args[0], COMMANDS))
            raise InputError(problem, allowed=", ".join(COMMANDS))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; its errors name options instead of parameters of the library."""
        try:
            return super().invoke(ctx)
        except ArchcalcError as error:
            if command := self.get_command(ctx, ctx.invoked_subcommand or ""):
                error.rename_parameters(_options(command))
            raise _TranslatedError(error.text(current()), error.exit_code) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        say = translator(_lang(ctx))
        with formatter.section(say(msg("Commands"))):
            formatter.write_dl([(name, say(Message(text))) for name, (_, text) in COMMANDS.items()])


def _lang(ctx: click.Context) -> str:
    """Return the language of the help and of usage errors."""
    return str(ctx.find_root().obj or LANGS[0])


def _options(command: click.Command) -> dict[str, str]:
    """Return parameter → name on the command line: the long option, or the argument as in the usage line.

    An option is also listed under its own name: `lora` for --lora, whose parameter is `rank`.
    """
    names: dict[str, str] = {}
    for param in command.params:
        if isinstance(param, click.Option):
            option = next((name for name in param.opts if name.startswith("--")), param.opts[0])
            names |= dict.fromkeys((str(param.name), option.lstrip("-").replace("-", "_")), option)
        else:
            names[str(param.name)] = param.human_readable_name
    return names


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="archcalc")
@language.lang
def cli() -> None:
    """Exact numbers of any transformer, explained and proven."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 a check failed, 2 bad input, 130 interrupted."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors are printed in one line on standard error."""
    lang = stated_lang(sys.argv[1:] if args is None else args)
    with click_texts(lang), shown_by(warn):
        return _run(args, lang)


def _run(args: Sequence[str] | None, lang: str) -> int:
    say = translator(lang)
    try:
        code = in_language(cli, lang).main(args, prog_name="archcalc", standalone_mode=False, obj=lang)
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except _TranslatedError as error:
        return _fail(error.format_message(), error.code)
    except click.MissingParameter as error:
        return _fail(_missing(error).text(say), 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except ArchcalcError as error:
        return _fail(error.text(current()), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail(say(msg("interrupted")), 130)
    except OSError as error:
        from archcalc.render.output import discard_output

        discard_output()
        return _fail(say(msg("cannot be written or read ({reason})", reason=error.strerror or str(error))), 2)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        return _fail(say(msg("memory is short ({reason})", reason=_first_sentences(error))), 1)


def _missing(error: click.MissingParameter) -> InputError:
    """Return the error of an option or argument that is not given, with what it may be."""
    param, command = error.param, error.ctx.command_path if error.ctx else "archcalc"
    assert param is not None, "click says which"
    name = param.opts[0] if isinstance(param, click.Option) else param.make_metavar(error.ctx or click.Context(cli))
    choices = ", ".join(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else ""
    advice = msg("{command} --help describes it", command=command)
    return InputError(msg("not given"), where=name, allowed=choices, advice=advice)


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory is short: of Python, or of torch on a CPU or a GPU."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _first_sentences(error: Exception) -> str | Message:
    """Return torch's message without the state of the GPU and advice."""
    return str(error).partition("\n")[0].partition(" GPU ")[0] or msg("of this process")


def _fail(message: str, code: int) -> int:
    click.echo(f"archcalc: {printable(' '.join(message.split()))}", err=True)
    return code
