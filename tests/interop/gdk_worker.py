"""The process GDK runs in: one JSON message a line in, one a line out.

GDK keeps global state (its data folder, the registered networks), so it has a process of its own. Requests::

    {"do": "open", "session": "alice", "parameters": {...}}       a new session, connected
    {"do": "close", "session": "alice"}
    {"do": "call", "session": "alice", "method": "get_balance", "args": [...]}
    {"do": "function", "name": "generate_mnemonic_12", "args": []}
    {"do": "event", "session": "alice", "name": "transaction", "seconds": 10}

and the answer is ``{"result": …}``, or ``{"kind": …, "text": …}`` of what was raised. While a call needs something of
its user (a code, a choice of methods, data), the line out is ``{"question": <GDK's status>}``, and the next line in
is the answer: a text, or null to give up.

The one argument is a JSON object: ``datadir``, and the network for ``register_network``.
"""

from __future__ import annotations

import collections
import contextlib
import json
import queue
import sys
import time
from typing import Any

import green_gdk as gdk

OUT = sys.stdout


class GaveUp(Exception):
    """The one who asked did not want to answer."""


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), file=OUT, flush=True)


def ask(status: dict[str, Any]) -> str:
    say({"question": status})
    answer = json.loads(sys.stdin.readline())
    if answer is None:
        raise GaveUp(json.dumps(status))
    return str(answer)


def resolve(call: gdk.Call) -> Any:
    """GDK's state machine, with the one who asked answering."""
    while True:
        status = call.status()
        state = status["status"]
        if state == "error":
            raise RuntimeError(status["error"])
        if state == "done":
            return status.get("result")
        if state == "request_code":
            gdk.auth_handler_request_code(call.call_obj, ask(status))
        elif state == "resolve_code":
            gdk.auth_handler_resolve_code(call.call_obj, ask(status))
        elif state == "call":
            gdk.auth_handler_call(call.call_obj)
        else:
            raise RuntimeError(f"a state of GDK that is not known: {status}")


class Worker:
    def __init__(self) -> None:
        self.sessions: dict[str, gdk.Session] = {}
        self.heard: dict[str, collections.deque[dict[str, Any]]] = {}

    def answer(self, request: dict[str, Any]) -> Any:
        return getattr(self, request.pop("do"))(**request)

    def open(self, session: str, parameters: dict[str, Any]) -> None:
        self.heard[session] = collections.deque()
        self.sessions[session] = gdk.Session(parameters)

    def close(self, session: str) -> float:
        """Seconds that it took."""
        began = time.monotonic()
        self.sessions.pop(session).destroy()
        return time.monotonic() - began

    def call(self, session: str, method: str, args: list[Any]) -> Any:
        result = getattr(self.sessions[session], method)(*args)
        return resolve(result) if isinstance(result, gdk.Call) else result

    def function(self, name: str, args: list[Any]) -> Any:
        result = getattr(gdk, name)(*args)
        return resolve(result) if isinstance(result, gdk.Call) else result

    def event(self, session: str, name: str, seconds: float) -> Any:
        """The next event of that name; those of other names stay for later. None when there is none in time."""
        until = time.monotonic() + seconds
        waiting = self.heard[session]
        while True:
            for event in waiting:
                if event["event"] == name:
                    waiting.remove(event)
                    return event.get(name)
            left = until - time.monotonic()
            try:
                waiting.append(self.sessions[session].notifications.get(timeout=max(left, 0.001)))
            except queue.Empty:
                return None

    def forget_events(self, session: str) -> None:
        self.heard[session].clear()
        with contextlib.suppress(queue.Empty):
            while True:
                self.sessions[session].notifications.get_nowait()


def leave_no_core() -> None:
    """One test makes GDK abort: it need not fill the disk."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    leave_no_core()
    setting = json.loads(sys.argv[1])
    gdk.init({"datadir": setting["datadir"], "log_level": setting.get("log_level", "none")})
    gdk.register_network(setting["network"]["network"], setting["network"])
    worker = Worker()
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            try:
                say({"result": worker.answer(json.loads(line))})
            except Exception as error:  # noqa: BLE001 - a request ends here; whatever it was is the answer
                say({"kind": type(error).__name__, "text": str(error)})
        for session in worker.sessions.values():
            session.destroy()


if __name__ == "__main__":
    main()
