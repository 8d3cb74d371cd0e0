"""Writes docs/settings.md from ``lote.settings``: every knob, its default, and how to give it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import msgspec
from typer.main import get_command

from lote import settings
from lote.main import app

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRODUCTION = """# Settings

*Written by `scripts/settings_page.py` from `lote/settings.py`; change that instead.*

A flag of `lote serve` wins over the environment variable, the variable over the default. Names that
end in `_s` are seconds, `_bytes` bytes.

| setting | flag | variable | default | meaning |
|---|---|---|---|---|
"""
FLAG_OF = {
    "folder": "data",
    "http_port": "port",
    "token_issuers": "token_issuer",
}  # where the flag has another name
MEANING = {
    "http_port": f"Port of the plain HTTP listener; {settings.HTTP_PORT} unless given.",
    "tls_port": f"Port of the HTTPS listener; {settings.TLS_PORT} unless given.",
    "storage_port": f"Port of the blob storage; {settings.STORAGE_PORT} unless given.",
    "storage_tls_port": f"Its HTTPS port; {settings.STORAGE_TLS_PORT} unless given.",
    "storage_key": "Base64 of the storage account's key; made at first start when not given.",
}


def documented() -> dict[str, str]:
    """The docstring under each field of ``Settings``."""
    tree = ast.parse(Path(settings.__file__).read_text())
    owner = next(
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    texts: dict[str, str] = {}
    field = ""
    for node in owner.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            field = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and field:
            texts[field] = " ".join(str(node.value.value).split())
            field = ""
    return {**MEANING, **texts}


def flags() -> set[str]:
    """The long flags of `lote serve`."""
    serve = get_command(app).commands["serve"]  # type: ignore[attr-defined]
    return {flag for option in serve.params for flag in option.opts if flag.startswith("--")}


def page() -> str:
    """The whole page. Raises ``KeyError`` for a setting that nobody described."""
    meaning, known = documented(), flags()
    lines = []
    for field in msgspec.structs.fields(settings.Settings):
        flag = "--" + FLAG_OF.get(field.name, field.name).replace("_", "-")
        shown = f"`{flag}`" if flag in known else ""
        variable = settings.ENVIRONMENT.get(field.name)
        given = f"`{variable}`" if variable else ""
        default = "" if field.required or field.default is None else f"`{field.default}`"
        lines.append(f"| `{field.name}` | {shown} | {given} | {default} | {meaning[field.name]} |")
    return INTRODUCTION + "\n".join(lines) + "\n"


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
