"""What the benchmark counts as an API call, and of whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.calls import Audit, by_client, parse_metrics

METRICS = """\
# HELP apiserver_request_total Counter of apiserver requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",resource="pods",subresource="",verb="POST"} 2
apiserver_request_total{code="409",resource="pods",subresource="",verb="POST"} 1
apiserver_request_total{code="200",resource="pods",subresource="status",verb="PATCH"} 4
apiserver_request_total{code="200",resource="",subresource="apis",verb="GET"} 5
apiserver_request_total{code="200",resource="pods",subresource="",verb="WATCH"} 7
apiserver_request_total{code="500",resource="",subresource="/readyz",verb="GET"} 28
apiserver_request_total{code="200",resource="",subresource="/metrics",verb="GET"} 1
# TYPE apiserver_other_total counter
apiserver_other_total{verb="GET"} 9
"""


def event(identity: str, agent: str, verb: str, uri: str, **about: str) -> dict[str, Any]:
    found = {"auditID": identity, "userAgent": agent, "verb": verb, "requestURI": uri}
    return found | ({"objectRef": about} if about else {})


def test_codes_are_summed_and_watches_probes_and_scrapes_left_out() -> None:
    assert parse_metrics(METRICS) == {"POST pods": 3, "PATCH pods/status": 4, "GET apis": 5}


def test_a_call_belongs_to_whom_its_user_agent_names() -> None:
    provider, kubectl = "pulumi-kubernetes/4.29.0 (linux/amd64)", "kubectl/v1.37.1 (linux/amd64)"
    found = by_client(
        [
            event("1", provider, "patch", "/api/v1/pods/a?force=true", resource="pods"),
            event("2", provider, "get", "/openapi/v2?timeout=32s"),
            event("3", kubectl, "create", "/api/v1/pods", resource="pods"),
            event("4", "kubelet/v1", "update", "/api/v1/pods/a/status",
                  resource="pods", subresource="status"),
            event("5", "OpenAPI-Generator/37.0.2/python", "list", "/api/v1/pods", resource="pods"),
        ]
    )  # fmt: skip
    assert found == {
        "provider": {"PATCH pods": 1, "GET openapi/v2": 1},
        "kubectl": {"POST pods": 1},
        "control plane": {"PUT pods/status": 1},
        "checks": {"LIST pods": 1},
    }


def test_stages_of_one_request_and_probes_are_no_calls() -> None:
    watch = event("1", "kubectl/v1", "watch", "/api/v1/pods?watch=true", resource="pods")
    probe = event("2", "kubectl/v1", "get", "/readyz?verbose")
    assert by_client([watch, watch, probe]) == {"kubectl": {"WATCH pods": 1}}


def test_the_log_is_read_on_from_where_it_was_left_also_when_it_was_deleted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.log"
    first = json.dumps(event("1", "kubectl/v1", "get", "/api"))
    second = json.dumps(event("2", "kubectl/v1", "get", "/apis"))
    path.write_text(f"{first}\n{second[:20]}")
    audit = Audit(path)
    assert audit.read() == {"kubectl": {"GET api": 1}}
    with path.open("a") as log:
        log.write(f"{second[20:]}\n{first}\n")
    path.unlink()
    assert audit.read() == {"kubectl": {"GET apis": 1}}
    assert audit.read() == {}
    audit.close()
