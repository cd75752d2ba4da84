"""Describe the API as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Mapping

from hp_service.request import MAX_IDS

Json = Mapping[str, object]


def openapi_document(version: str, reviews: int) -> Json:
    """Return the document for a service that knows the ids 0 .. reviews-1."""
    review_id = {"type": "integer", "minimum": 0, "maximum": reviews - 1}
    ids = {"type": "array", "items": review_id, "minItems": 1, "maxItems": MAX_IDS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fraud scoring",
            "version": version,
            "description": "Scores reviews with a graph neural network whose features are read from disk.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/score": {"post": _score_operation(review_id, ids)},
            "/healthz": {"get": _plain("The process answers.", "Alive.", "liveness")},
            "/readyz": {"get": _plain("Whether requests can be scored, and how.", "Ready.", "readiness")},
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Metrics in Prometheus's text format.",
                    "responses": {"200": {"description": "Metrics.", "content": {"text/plain": {}}}},
                }
            },
        },
        "components": {
            "schemas": {
                "Scores": _object(
                    ids=ids, scores={"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
                ),
                "Error": _object(
                    error=_object(code={"type": "string"}, message={"type": "string"}),
                ),
            }
        },
    }


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _score_operation(review_id: Json, ids: Json) -> Json:
    error = _json({"$ref": "#/components/schemas/Error"})
    timing = {
        "description": "Milliseconds spent on `sample`, `fetch` and `model`.",
        "schema": {"type": "string"},
    }
    retry = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
    body = {"oneOf": [_object(id=review_id), _object(ids=ids)]}
    return {
        "operationId": "score",
        "summary": "Score one or many reviews: the probability that each is fraudulent.",
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "200": {
                "description": "Scores in the order of the ids.",
                "headers": {"Server-Timing": timing},
                "content": _json({"$ref": "#/components/schemas/Scores"}),
            },
            "400": {"description": "The body is not JSON.", "content": error},
            "404": {"description": "An id does not exist.", "content": error},
            "413": {"description": "The body is too large.", "content": error},
            "422": {"description": "The body has another shape.", "content": error},
            "500": {"description": "A feature row could not be read.", "content": error},
            "503": {
                "description": "Too many requests in flight.",
                "headers": {"Retry-After": retry},
                "content": error,
            },
        },
    }


def _plain(summary: str, description: str, operation: str) -> Json:
    return {
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": description, "content": _json({"type": "object"})}},
    }
