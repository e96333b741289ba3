"""The process LWK runs in: one JSON request a line in, one JSON answer a line out.

A request has a ``script`` and ``values`` that become names for it. All scripts share one namespace, which begins with
LWK's public names. The answer has ``result``, or ``kind`` and ``text`` of the exception.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import lwk


def answer(namespace: dict[str, Any], line: str) -> dict[str, Any]:
    request = json.loads(line)
    namespace.update(request["values"], result=None)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(request["script"], "<script>", "exec"), namespace)
        return {"result": namespace["result"]}
    except Exception as error:
        return {"kind": type(error).__name__, "text": str(getattr(error, "msg", "") or error)}


def main() -> None:
    namespace = {name: getattr(lwk, name) for name in dir(lwk) if not name.startswith("_")}
    for line in sys.stdin:
        print(json.dumps(answer(namespace, line)), flush=True)


if __name__ == "__main__":
    main()
