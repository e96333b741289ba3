"""The description of the API: valid, complete, and what people see of it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from schemathesis import openapi as reader

from amp0.server.issuer import openapi, page
from amp0.server.issuer.endpoint import Endpoint, Who
from amp0.server.issuer.table import ENDPOINTS, by_path

from .office import Api, Office

DESCRIPTION = openapi.describe(ENDPOINTS)
OPERATIONS = [
    (method, path, operation) for path, methods in DESCRIPTION["paths"].items() for method, operation in methods.items()
]


def refs(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(refs(item) for item in value.values())) if value else found
    if isinstance(value, list):
        return set().union(*(refs(item) for item in value)) if value else set()
    return set()


def test_every_endpoint_is_described(office: Office) -> None:
    assert {(method.upper(), path) for method, path, _ in OPERATIONS} == {
        (method, path) for path, methods in by_path().items() for method in methods
    }
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert office.anybody.ok("get", "/openapi.json") == DESCRIPTION
    assert office.anybody.ok("get", "/openapi.json/") == DESCRIPTION


def test_the_description_is_whole() -> None:
    assert DESCRIPTION["openapi"] == "3.1.0"
    for ref in refs(DESCRIPTION):
        assert ref.startswith("#/components/schemas/")
        assert ref.rpartition("/")[2] in DESCRIPTION["components"]["schemas"]
    assert "(?!" not in str(DESCRIPTION), "of Python only"
    schemas = DESCRIPTION["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator({"components": {"schemas": schemas}, **schema})


def test_a_reader_of_descriptions_reads_it(office: Office) -> None:
    schema = reader.from_asgi("/api/openapi.json", office.app)
    schema.validate()
    assert len(list(schema.get_all_operations())) == len(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_operations_say_what_they_take_and_give(method: str, path: str, operation: dict[str, Any]) -> None:
    endpoint = by_path()[path][method.upper()]
    assert operation["summary"].endswith((".", "`"))
    assert ":class:" not in str(operation)
    assert "``" not in str(operation)
    in_path = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    assert in_path == re.findall(r"{(\w+)}", path)
    assert ("requestBody" in operation) == (endpoint.body is not None)
    assert str(endpoint.status) in operation["responses"]
    assert ("content" in operation["responses"][str(endpoint.status)]) == (endpoint.answer is not None)
    assert (operation["security"] == []) == (endpoint.who is Who.ANYBODY)
    assert ("401" in operation["responses"]) == (endpoint.who is not Who.ANYBODY)
    assert ("404" in operation["responses"]) == bool(in_path)


class Page(HTMLParser):
    """What a browser would fetch or run, where links lead, and whether tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_w01_the_page_runs_nothing_and_fetches_nothing(office: Office) -> None:
    for path in ("", "/"):
        answer = office.anybody.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        read = Page(answer.text)
        assert read.open == []
        assert not {"script", "link", "img", "iframe", "form", "object", "embed", "base"} & set(read.tags)
        names = {name for name, _ in read.attributes}
        assert not names & {"src", "style", "action", "srcset"}
        assert not any(name.startswith("on") for name in names)
        links = {value for name, value in read.attributes if name == "href"}
        anchors = {f"#{value}" for name, value in read.attributes if name == "id"}
        assert links <= anchors | {"/api/openapi.json"}
        style = re.search(r"<style>(.*)</style>", answer.text, re.DOTALL)
        assert style is not None
        assert base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode() in policy


def test_the_page_shows_everything(office: Office) -> None:
    text = office.anybody.get("/").text
    for _, path, _ in OPERATIONS:
        assert f'<span class="path">{path}</span>' in text
    for name in DESCRIPTION["components"]["schemas"]:
        assert f'<h3 id="{name}">' in text


def test_w01_what_is_described_is_escaped() -> None:
    def function(_call: Any, _body: Any) -> None:
        """Answers <script>alert(1)</script> & `<b>code</b>`."""

    described = openapi.describe([Endpoint(("GET",), "/<i>", function, None, tag='"><script>')])
    shown = page.render(described)
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; <code>&lt;b&gt;code&lt;/b&gt;</code>" in shown


def test_answers_are_what_the_description_says(office: Office, acme: Api) -> None:
    """A few by hand; the fuzz test does it for all."""
    user = acme.ok("post", "/registered_users/add", {"name": "x", "GAID": office.account().gaid}, status=201)
    schemas = DESCRIPTION["components"]["schemas"]
    root = {"components": {"schemas": schemas}, "$ref": "#/components/schemas/User"}
    assert Draft202012Validator(root).is_valid(user)
    assert not Draft202012Validator(root).is_valid({**user, "id": "1"})
