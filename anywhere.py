"""Train a vision model in PyTorch, deploy it anywhere, prove it is the same model everywhere.

    anywhere train && anywhere export && anywhere validate

One typer app over the three rooms, and the same verbs for Python. Importing it imports no torch.

    run = anywhere.adopt(model, images="val/")
    run.export(to=["tflite"])
    run.validate().raise_for_failure()
"""

import io
import os
import signal
import sys

import typer

import export.commands
import pipeline.commands
import validate.commands
from records.errors import BadInput, Exit, NotProved
from validate.api import Run, adopt

__all__ = ["BadInput", "NotProved", "Run", "adopt", "app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=__doc__.splitlines()[0],
)
app.command()(pipeline.commands.train)
app.command()(pipeline.commands.adopt)
app.command()(export.commands.check)
app.command()(export.commands.export)
app.command()(validate.commands.validate)
app.command()(validate.commands.predict)
app.command()(validate.commands.report)
app.command()(validate.commands.targets)
app.command()(validate.commands.doctor)


def main() -> None:
    """Run the app. Bad input is one sentence on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal or a log of another encoding gets a ? for what it has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not sys.stdout.isatty():
        os.environ.setdefault("COLUMNS", "100")  # a table in a log file is made for reading, too
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's end is the user's Ctrl-C
    try:
        app()
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(Exit.BAD_INPUT)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    main()
