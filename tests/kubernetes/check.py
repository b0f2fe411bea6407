"""Checks that what the built manifests say fits together, and that the service takes their settings: see run."""

import json
import os
import subprocess
import sys

import jsonschema
import yaml

work, sessiond = sys.argv[1:]
# What stopping takes at most, the delay included (docs/operations.md), and what is left beside it and the delay once more.
STOPPING, TO_SPARE = 9, 5


def built(name):
    with open(f"{work}/{name}.yaml", encoding="utf-8") as file:
        return {document["kind"]: document for document in yaml.safe_load_all(file)}


def closed(schema):
    """The same schema, which takes no field that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False, **parts} if isinstance(parts.get("properties"), dict) else parts


def check(words, fine):
    print("ok" if fine else "not ok", words)
    if not fine:
        check.failed = True


check.failed = False
parts = built("built")
deployment, service, budget = parts["Deployment"], parts["Service"], parts["PodDisruptionBudget"]
config, secret = parts["ConfigMap"], parts["Secret"]
pod = deployment["spec"]["template"]
[container] = pod["spec"]["containers"]
labels = pod["metadata"]["labels"]
ports = {port["name"]: port["containerPort"] for port in container["ports"]}
variables = {variable["name"]: variable["value"] for variable in container["env"]}

print("# names")
selectors = [
    deployment["spec"]["selector"]["matchLabels"],
    service["spec"]["selector"],
    budget["spec"]["selector"]["matchLabels"],
    parts["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
]
check("everything selects the pods", all(selector.items() <= labels.items() for selector in selectors))
allowed = [port["port"] for rule in parts["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
wanted = [port["targetPort"] for port in service["spec"]["ports"]] + allowed
check("every port that is named is one of the container's", set(wanted) <= set(ports))
check("the ports are those of the image", ports == {"http": 8080, "operations": 9090})
check("the settings are the ConfigMap", container["envFrom"] == [{"configMapRef": {"name": config["metadata"]["name"]}}])
volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
check("the secrets are the Secret", volumes["secrets"]["secret"]["secretName"] == secret["metadata"]["name"])
[mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
files = [value for name, value in variables.items() if name.endswith("_FILE")]
check("every file of a secret is there", set(files) == {f"{mount['mountPath']}/{key}" for key in secret["data"]})
changed = built("changed")
check("a changed setting has another name", changed["ConfigMap"]["metadata"]["name"] != config["metadata"]["name"])
check("so the pods are replaced", changed["Deployment"]["spec"]["template"] != pod)

print("# stopping, and probes")
delay = int(variables["SESSIOND_SHUTDOWN_DELAY"].removesuffix("s"))
check("a pod that stops answers until its address is gone", delay >= 5)
grace = pod["spec"]["terminationGracePeriodSeconds"]
check("there is time for all of stopping", grace >= delay + STOPPING + TO_SPARE)
check("nothing is run in the container, which has no shell", "lifecycle" not in container and "exec" not in str(container))
for name, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
    check(f"the {name} asks {path}", container[name]["httpGet"] == {"path": path, "port": "operations"})
check("there is a pod more while they are replaced", deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0)
check("a drain takes fewer than there are", budget["spec"]["maxUnavailable"] < deployment["spec"]["replicas"])

print("# rights")
everywhere, here = pod["spec"]["securityContext"], container["securityContext"]
check("it is not root", everywhere["runAsNonRoot"] and everywhere["runAsUser"] == 65532)
check("it may write its volumes", everywhere["fsGroup"] == everywhere["runAsGroup"])
check("its root file system is read-only", here["readOnlyRootFilesystem"])
check("it has no capabilities, and gets none", here["capabilities"] == {"drop": ["ALL"]} and not here["allowPrivilegeEscalation"])
check("its system calls are filtered", everywhere["seccompProfile"] == {"type": "RuntimeDefault"})
check("it knows nothing of the cluster", not pod["spec"]["automountServiceAccountToken"] and not pod["spec"]["enableServiceLinks"])

print("# settings")
mounted = {name: value.replace(mount["mountPath"], f"{work}/manifests/secrets") for name, value in variables.items()}
# As in the image.
image = {"SESSIOND_LISTEN": "0.0.0.0:8080", "SESSIOND_OPS_LISTEN": "0.0.0.0:9090"}
environment = {"PATH": os.environ["PATH"], **image, **config["data"], **mounted}
for name in files:
    os.chmod(name.replace(mount["mountPath"], f"{work}/manifests/secrets"), 0o440)
answer = subprocess.run([sessiond, "check-config"], env=environment, capture_output=True, text=True, cwd=work, check=False)
check("the service takes them", answer.returncode == 0)
warnings = [line for line in answer.stdout.splitlines() if line.startswith("# warning: ")]
# The network policy keeps clients away from it.
others = [line for line in warnings if "ops_listen is 0.0.0.0:9090" not in line]
check("and warns of nothing but the port that the network policy closes", len(warnings) == 1 and not others)
if answer.returncode or others:
    print(answer.stdout, answer.stderr)

print("# the route of the Gateway API")
with open(f"{work}/route.json", encoding="utf-8") as file:
    routes = jsonschema.Draft202012Validator(closed(json.load(file)))
with open(f"{work}/manifests/gateway/route.yaml", encoding="utf-8") as file:
    application, login = yaml.safe_load_all(file)
for route in (application, login):
    spec = {"spec": route["spec"]}
    faults = [fault.message for fault in routes.iter_errors(spec)]
    check(f"{route['metadata']['name']} is a route {faults or ''}", not faults)
misspelt = {"spec": {**application["spec"], "hostname": "app.example.com"}}
check("a misspelt field would be found", not routes.is_valid(misspelt))
[ask] = application["spec"]["rules"][0]["filters"]
backend = {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
check("it asks the service", ask["externalAuth"]["backendRef"] == backend)
check("as Envoy does", ask["externalAuth"]["http"]["path"] == "/verify/envoy" and "cookie" in ask["externalAuth"]["http"]["allowedHeaders"])
check("the service is where people log in", login["spec"]["rules"][0]["backendRefs"] == [backend])
hosts = {f"https://{host}" for host in application["spec"]["hostnames"]}
check("people return to the application", hosts == {config["data"]["SESSIOND_ALLOWED_RETURN_ORIGINS"]})
check("and log in at the public URL", f"https://{login['spec']['hostnames'][0]}" == config["data"]["SESSIOND_PUBLIC_URL"])

sys.exit(check.failed)
