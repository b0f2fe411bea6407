"""Checks what compose.yaml says, where the tools here cannot do it: their podman is too old, or there is no registry."""

import re
import sys

import yaml

with open(sys.argv[1], encoding="utf-8") as file:
    compose = yaml.safe_load(file)
services = compose["services"]


def check(words, fine):
    print("ok" if fine else "not ok", words)


def waits_for(service):
    return {name: what["condition"] for name, what in services[service].get("depends_on", {}).items()}


healthy = "service_healthy"
print("# only parsed, since podman waits for no health here: depends_on, restart")
check(
    "nginx waits for both servers and the page",
    waits_for("nginx") == {"sessiond-1": healthy, "sessiond-2": healthy, "page": healthy},
)
check("the servers wait for PostgreSQL", all(waits_for(f"sessiond-{n}") == {"postgres": healthy} for n in (1, 2)))
check("everything is started again", all(service["restart"] == "unless-stopped" for service in services.values()))
print("# only parsed, since there is no registry here: the official images")
pinned = re.compile(r"(nginx|postgres):[0-9][^@]*@sha256:[0-9a-f]{64}")
for name, service in services.items():
    ours = service["image"] == "sessiond" and service["build"]["context"] == "."
    check(f"the image of {name} is ours or pinned", ours or pinned.fullmatch(service["image"]) is not None)
check("the database has no way out", compose["networks"]["database"] == {"internal": True})
check("only nginx is published, to this machine", [name for name in services if "ports" in services[name]] == ["nginx"])
