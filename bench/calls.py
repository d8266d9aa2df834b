"""Who asked the API server for what, and how often.

A request is named by verb and resource, as "POST pods" or "GET openapi/v3".
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

METRIC = "apiserver_request"
BENCH = "dra-workshop-bench"
"""User agent of the benchmark's own requests."""
LASTING = ("WATCH", "CONNECT")
"""Verbs of requests that the counter sees only when they end."""
PROBES = ("/metrics", "/healthz", "/livez", "/readyz")
CLIENTS = {
    "pulumi-kubernetes": "provider",
    "Helm": "provider",
    "kubectl": "kubectl",
    "OpenAPI-Generator": "checks",
    BENCH: "bench",
}
"""Beginnings of user agents; everybody else is the control plane."""
VERBS = {"create": "POST", "update": "PUT"}
"""Words of the audit log, where they are not those of the counter."""

Calls = Counter[str]


def parse_metrics(text: str) -> Calls:
    """apiserver_request_total in the text of /metrics, without watches, probes and scrapes."""
    found: Calls = Counter()
    for family in text_string_to_metric_families(text):
        if family.name == METRIC:
            for sample in family.samples:
                verb, sub = sample.labels["verb"], sample.labels["subresource"]
                if verb not in LASTING and sub not in PROBES:
                    found[_name(verb, sample.labels["resource"], sub)] += round(sample.value)
    return found


class Audit:
    """The API server's audit log, read on and on; it can be read to its end when it was deleted."""

    def __init__(self, path: Path) -> None:
        self._log = path.open("rb")
        self._rest = b""
        self._seen: set[str] = set()

    def read(self) -> dict[str, Calls]:
        """What each client asked since the last reading, watches included."""
        # The rest is a line that is still being written.
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        events = [json.loads(line) for line in lines]
        new = [event for event in events if event["auditID"] not in self._seen]
        self._seen |= {event["auditID"] for event in new}
        return by_client(new)

    def close(self) -> None:
        self._log.close()


def by_client(events: Iterable[Mapping[str, Any]]) -> dict[str, Calls]:
    """Client → its calls. A request that is in the log with several stages counts once."""
    found: dict[str, Calls] = {}
    for event in {event["auditID"]: event for event in events}.values():
        about = event.get("objectRef", {})
        path = event["requestURI"].partition("?")[0]
        if path not in PROBES:
            agent = event.get("userAgent", "")
            known = (who for beginning, who in CLIENTS.items() if agent.startswith(beginning))
            verb = VERBS.get(event["verb"], event["verb"].upper())
            name = _name(verb, about.get("resource", path.strip("/")), about.get("subresource", ""))
            found.setdefault(next(known, "control plane"), Counter())[name] += 1
    return found


def _name(verb: str, resource: str, subresource: str) -> str:
    return f"{verb} " + "/".join(filter(None, (resource, subresource)))
