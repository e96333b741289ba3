"""The description of the issuer API as one page for people: no scripts, nothing from elsewhere, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1a1a1a; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; } h3 { margin: 1.4rem 0 .2rem; }
code, .path { font-family: ui-monospace, monospace; font-size: .92em; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; color: #0a5; }
.method.delete { color: #b22; } .method.put { color: #a60; } .method.post { color: #06c; }
.who { color: #666; font-size: .85em; margin-left: .6rem; } p { margin: .2rem 0; }
table { border-collapse: collapse; margin: .4rem 0 1rem; } td, th { text-align: left; padding: .1rem .8rem .1rem 0; }
td { vertical-align: top; } nav a { margin-right: 1rem; }
@media (prefers-color-scheme: dark) { body { background: #14161a; color: #ddd; } a { color: #7ab7ff; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the page: its own style, and nothing else from anywhere."""


def render(description: dict[str, Any]) -> str:
    """The page of an OpenAPI description."""
    info = description["info"]
    tags = [tag["name"] for tag in description["tags"]]
    by_tag: dict[str, list[str]] = {tag: [] for tag in tags}
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append(_operation(path, method, operation))
    links = " ".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in tags)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        *(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].strip().split("\n\n")),
        '<p>For programs: <a href="/api/openapi.json">openapi.json</a></p>',
        f'<nav>{links} <a href="#shapes">shapes</a></nav>',
    ]
    for tag, operations in by_tag.items():
        parts.append(f'<section><h2 id="{escape(tag)}">{escape(tag)}</h2>{"".join(operations)}</section>')
    parts.append('<section><h2 id="shapes">shapes</h2>')
    parts += [_shape(name, schema) for name, schema in sorted(description["components"]["schemas"].items())]
    return "".join([*parts, "</section></body></html>"])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    done = min(operation["responses"], key=int)
    lines = [
        f'<h3><span class="method {escape(method)}">{escape(method.upper())}</span> '
        f'<span class="path">{escape(path)}</span><span class="who">{escape(operation["x-who"])}</span></h3>',
        f"<p>{_text(operation['summary'])}</p>",
    ]
    if "description" in operation:
        lines.append(f"<p>{_text(operation['description'])}</p>")
    queries = [one for one in operation["parameters"] if one["in"] == "query"]
    if queries:
        shown = ", ".join(f"<code>{escape(one['name'])}</code> {_kind(one['schema'])}" for one in queries)
        lines.append(f"<p>Query: {shown}</p>")
    if "requestBody" in operation:
        lines.append(f"<p>Takes: {_kind(operation['requestBody']['content']['application/json']['schema'])}</p>")
    content = operation["responses"][done].get("content")
    answer = _kind(content["application/json"]["schema"]) if content else "an empty body"
    lines.append(f"<p>Answers {escape(done)}: {answer}</p>")
    return "".join(lines)


def _shape(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{_kind(value)}</td>"
        f"<td>{'' if key in required else 'optional'}</td><td>{_text(value.get('description', ''))}</td></tr>"
        for key, value in schema.get("properties", {}).items()
    )
    about = f"<p>{_text(schema.get('description', ''))}</p>"
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{about}<table>{rows}</table>'


def _kind(schema: dict[str, Any]) -> str:
    """A type in a few words, with links to the shapes it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_kind(one) for one in schema[key])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return "list of " + _kind(schema.get("items", {}))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return "map to " + _kind(schema["additionalProperties"])
    return escape(str(kind))


def _text(text: str) -> str:
    """Escaped, with what stands between backticks as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
