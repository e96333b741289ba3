"""The process LWK runs in: one JSON request a line in, one JSON answer a line out.

A request has a ``script``, ``values`` that become names for it, and the name of a ``space``: scripts of one space
share a namespace, which begins with LWK's public names and ``network``. The answer has ``result``, or ``kind`` and
``text`` of the exception.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import lwk


def names() -> dict[str, Any]:
    public = {name: getattr(lwk, name) for name in dir(lwk) if not name.startswith("_")}
    return public | {"network": lwk.Network.regtest_default()}


def answer(spaces: dict[str, dict[str, Any]], line: str) -> dict[str, Any]:
    request = json.loads(line)
    namespace = spaces.setdefault(request["space"], names())
    namespace.update(request["values"], result=None)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(request["script"], "<script>", "exec"), namespace)
        return {"result": namespace["result"]}
    except Exception as error:  # noqa: BLE001 - a request ends here; whatever it was is the answer
        return {"kind": type(error).__name__, "text": str(getattr(error, "msg", "") or error)}


def main() -> None:
    spaces: dict[str, dict[str, Any]] = {}
    for line in sys.stdin:
        print(json.dumps(answer(spaces, line)), flush=True)


if __name__ == "__main__":
    main()
