"""What others say of a document: the validator of the OpenAPI specification's own JSON Schema, and references."""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import OpenAPIV32SpecValidator


def check(document: dict[str, Any]) -> dict[str, Any]:
    """The document, if it is valid as OpenAPI 3.2."""
    assert document["openapi"] == "3.2.0"
    OpenAPIV32SpecValidator(document).validate()
    return document
