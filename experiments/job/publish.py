"""Judge a run, and put results and record where the Pulumi program reads them."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import dataclass
from typing import Final

from experiments.errors import RecordError
from experiments.job.configmap import ConfigMap
from experiments.judgement.reasons import Reason
from experiments.judgement.results import results_json
from experiments.judgement.study import study
from experiments.judgement.thresholds import Thresholds
from experiments.judgement.verdict import Verdict, criteria_of, judge
from experiments.records.jsonfields import Field, JsonObject, JsonValue
from experiments.records.record import RUN_SCHEMA, RunRecord, dump_run, load_run
from experiments.records.spec import Spec

RESULTS_KEY: Final = "results.json"
RECORD_KEY: Final = "run.json.gz"

MAX_BYTES: Final = 900 << 10
"""Of results and record together. A ConfigMap may hold 1 MiB, its metadata included."""

UNREADABLE: Final = (ValueError, OSError, EOFError, zlib.error)
_HINT: Final = "the record is damaged or of another version; run the experiment again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written."""

    document: JsonObject
    """results.json"""
    with_record: bool
    """Whether the raw record found room beside it."""


def publish_run(target: ConfigMap, spec: Spec, record: RunRecord) -> Published:
    """Judge one run and write results.json, and the raw record where it fits."""
    result = study([record], spec)
    return _write(target, results_json(result, judge(result)), pack(record))


def publish_failure(target: ConfigMap, spec: Spec, reason: str) -> Published:
    """Publish the reason why there are no results, so that the deployment's outputs show it."""
    nothing = study([], spec)
    verdict = Verdict(
        outcome="invalid",
        reasons=(Reason(outcome="invalid", code="not-measured", statement=reason),),
        criteria=criteria_of(nothing, Thresholds()),
    )
    return _write(target, results_json(nothing, verdict), None)


def pack(record: RunRecord) -> str:
    """Compress a record to base64 text; equal records give equal text."""
    return compressed(dump_run(record))


def unpack(packed: str, *, source: str) -> RunRecord:
    """Read what `pack` wrote; raises RecordError."""
    try:
        value = decompressed(packed)
    except UNREADABLE as error:
        raise RecordError(f"{source}: not a packed record: {error}", hint=_HINT) from None
    document = Field(value, "", source, _HINT)
    if (schema := document.get("schema")).value != RUN_SCHEMA:
        raise schema.refuse(json.dumps(RUN_SCHEMA))
    return load_run(document)


def compressed(document: JsonObject) -> str:
    """Return a document as a ConfigMap's binary part has it; the same text for the same document."""
    text = json.dumps(document, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def decompressed(packed: str) -> JsonValue:
    """Read what `compressed` wrote; raises one of `UNREADABLE`."""
    value: JsonValue = json.loads(gzip.decompress(base64.b64decode(packed, validate=True)))
    return value


def _write(target: ConfigMap, document: JsonObject, packed: str | None) -> Published:
    text = json.dumps(document, separators=(",", ":"))
    # A packed record counts as it is stored: the API keeps binary data as base64 in JSON.
    fits = packed is not None and len(text) + len(packed) <= MAX_BYTES
    target.patch(data={RESULTS_KEY: text}, binary={RECORD_KEY: packed if fits else None})
    return Published(document=document, with_record=fits)
