"""The ``amp0`` command: ``amp0 <noun> <verb>``, a module per noun.

Nothing heavy is imported until a command runs. Every error of ours leaves as one sentence on stderr (one JSON
object with ``--json``) and the exit code of its branch; anything else is a bug and shows where it happened.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the ``amp0`` command and exit with its code."""
    import click

    from amp0.cli.exit_codes import INTERRUPTED, exit_code
    from amp0.cli.root import root
    from amp0.errors import Amp0Error, ConfigError

    try:
        result = root.main(prog_name="amp0", standalone_mode=False)
    except click.ClickException as error:
        if _for_programs():
            _object({"type": type(error).__name__, "message": error.format_message(), "exit_code": error.exit_code})
        else:
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output left; what is still buffered goes nowhere instead of to a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except ModuleNotFoundError as error:
        if (error.name or "amp0").partition(".")[0] == "amp0":
            raise
        package = "'psycopg[binary]'" if (error.name or "").startswith("psycopg") else "'amp0[server,devchain]'"
        missing = ConfigError(f"this command needs {error.name}, which is not installed; pip install {package}")
        _say(missing, exit_code(missing))
        sys.exit(exit_code(missing))
    except Amp0Error as error:
        code = exit_code(error)
        _say(error, code)
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)


def _say(error: Exception, code: int) -> None:
    """One sentence for people, one object for programs; on stderr both."""
    if _for_programs():
        body: dict[str, object] = {"type": type(error).__name__, "message": str(error), "exit_code": code}
        reasons = getattr(error, "reasons", ())
        if reasons:
            body["reasons"] = [
                {"code": one.code, "side": one.side, "index": one.index, "asset_id": one.asset_id, "text": one.text}
                for one in reasons
            ]
        _object(body)
    else:
        sys.stderr.write(f"amp0: {error}\n")


def _for_programs() -> bool:
    return "--json" in sys.argv[1:]


def _object(body: dict[str, object]) -> None:
    import json

    sys.stderr.write(json.dumps({"error": body}) + "\n")
