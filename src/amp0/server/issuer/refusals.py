"""How the issuer API says no: three shapes of error body, because its clients know three.

``{"detail": …}`` for who may do what and what is there, ``{"<field>": ["…"]}`` for input that is wrong,
``{"Error": …}`` for operations that the state of things does not allow. Other refusals of the server
(:mod:`amp0.server.refusal`) are shown in the first shape, with the status of their table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amp0.server.refusal import Refusal


class ApiRefusal(Refusal):
    """A refusal that knows its HTTP status and body."""

    http_status = 400

    def body(self) -> dict[str, object]:
        """The JSON object of the answer: the text under ``detail``, unless a subclass has another shape."""
        return {"detail": str(self)}

    @property
    def status(self) -> int:
        """HTTP status code."""
        return self.http_status


class Detail(ApiRefusal):
    """``{"detail": text}`` under a status: 401, 403, 404, 405 or 429."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.http_status = status


class NothingHere(Detail):
    """404: no such thing, or not the caller's; the two look the same."""

    def __init__(self, what: str) -> None:
        super().__init__(404, f"Not found: {what}")


class WrongFields(ApiRefusal):
    """400: input that is wrong, by field; ``non_field_errors`` where it is no single field's fault."""

    def __init__(self, errors: Mapping[str, Sequence[str]] | str) -> None:
        self.errors = {"non_field_errors": [errors]} if isinstance(errors, str) else dict(errors)
        super().__init__("; ".join(f"{name}: {' '.join(texts)}" for name, texts in self.errors.items()))

    @classmethod
    def of(cls, field: str, text: str) -> WrongFields:
        """One wrong field."""
        return cls({field: [text]})

    def body(self) -> dict[str, object]:
        """The texts by field."""
        return {name: list(texts) for name, texts in self.errors.items()}


class OperationRefused(ApiRefusal):
    """400 ``{"Error": text}``: the request is well formed, and the state of things does not allow it."""

    def body(self) -> dict[str, object]:
        """The text under ``Error``."""
        return {"Error": str(self)}
