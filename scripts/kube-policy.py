"""Checks manifests against Kubernetes' schemas and, where those find no fault, against the policy of this project:

kube-policy.py [--node-port] --kubernetes VERSION[,VERSION...] FILE...

Each file is one overlay as `kubectl kustomize` renders it. Each fault is a line on standard error, and the exit status is 1.
"""

import argparse
import functools
import json
import re
import sys

import yaml
from kubernetes_validate import utils as schemas

# The schemas of a version have several megabytes, and are read again for each object otherwise.
schemas.schema_contents = functools.cache(schemas.schema_contents)

QUANTITY = re.compile(r"^\d+(\.\d+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")
WORKLOADS = {"Deployment", "StatefulSet", "Job"}
# Nothing else is needed, and other kinds may be ways to more rights.
KINDS = WORKLOADS | {
    "Namespace", "ServiceAccount", "ConfigMap", "Secret", "Service", "PodDisruptionBudget", "NetworkPolicy",
    "HorizontalPodAutoscaler", "Ingress", "Cluster", "ScheduledBackup", "ObjectStore", "HTTPRoute", "PodMonitor",
    "PrometheusRule", "PersistentVolumeClaim",
}
# Settings of polls that are for development only.
UNSAFE = {
    "DEBUG": re.compile(r"^(1|true|yes|on)$", re.IGNORECASE),
    "ALLOWED_HOSTS": re.compile(r"(^|,)\s*\*"),
    "TRUSTED_PROXIES": re.compile(r"/[0-7](,|$)"),
    "DATABASE_URL": re.compile(r"sslmode=(disable|allow)"),
    "DATABASE_REPLICA_URL": re.compile(r"sslmode=(disable|allow)"),
}
# Passwords that are tried first, in addresses and as values.
DEFAULT_PASSWORD = re.compile(r"postgres:postgres|123abcde|changeme|password:password", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"\w+://[^/\s@:]*:[^/\s@]+@")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE_KEY")
# The server's default, in seconds (GRACEFUL_TIMEOUT).
GRACEFUL_TIMEOUT = 30

# Kinds that Kubernetes' schemas do not have: the fields that we use, as their definitions have them
# (cloudnative-pg.io 1.27, its Barman Cloud plugin 0.7, gateway-api 1.3, prometheus-operator 0.85).
TEXT, NUMBER, FLAG = str, int, bool
CUSTOM = {
    ("postgresql.cnpg.io/v1", "Cluster"): {
        "instances": NUMBER,
        "imageName": TEXT,
        "bootstrap": {
            "initdb": {
                "database": TEXT,
                "owner": TEXT,
                "secret": {"name": TEXT},
                "dataChecksums": FLAG,
                "postInitApplicationSQL": [TEXT],
            }
        },
        "postgresql": {
            "parameters": {"*": TEXT},
            "synchronous": {"method": {"any", "first"}, "number": NUMBER, "dataDurability": {"required", "preferred"}},
        },
        "storage": {"size": TEXT},
        "walStorage": {"size": TEXT},
        "resources": {"requests": {"*": TEXT}, "limits": {"*": TEXT}},
        "affinity": {"topologyKey": TEXT, "podAntiAffinityType": {"required", "preferred"}},
        "plugins": [{"name": TEXT, "isWALArchiver": FLAG, "parameters": {"*": TEXT}}],
    },
    ("postgresql.cnpg.io/v1", "ScheduledBackup"): {
        "schedule": TEXT,
        "cluster": {"name": TEXT},
        "method": {"plugin", "volumeSnapshot", "barmanObjectStore"},
        "pluginConfiguration": {"name": TEXT},
    },
    ("barmancloud.cnpg.io/v1", "ObjectStore"): {
        "retentionPolicy": TEXT,
        "configuration": {
            "destinationPath": TEXT,
            "endpointURL": TEXT,
            "s3Credentials": {
                "accessKeyId": {"name": TEXT, "key": TEXT},
                "secretAccessKey": {"name": TEXT, "key": TEXT},
            },
            "wal": {"compression": TEXT},
            "data": {"compression": TEXT},
        },
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector": {"matchLabels": {"*": TEXT}},
        "podMetricsEndpoints": [{"port": TEXT, "interval": TEXT}],
    },
    ("monitoring.coreos.com/v1", "PrometheusRule"): {
        "groups": [
            {
                "name": TEXT,
                "rules": [{"alert": TEXT, "expr": TEXT, "for": TEXT, "labels": {"severity": {"critical", "warning"}}, "annotations": {"*": TEXT}}],
            }
        ],
    },
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {
        "parentRefs": [{"name": TEXT, "namespace": TEXT, "sectionName": TEXT}],
        "hostnames": [TEXT],
        "rules": [
            {
                "backendRefs": [{"name": TEXT, "port": NUMBER}],
                "filters": [{"type": {"RequestRedirect"}, "requestRedirect": {"scheme": TEXT, "statusCode": NUMBER}}],
            }
        ],
    },
}


@functools.cache
def schema_fault(document, version):
    """The fault of an object, given as JSON, by the schema of a Kubernetes version; None without one."""
    thing = json.loads(document)
    try:
        schemas.validate(thing, version, strict=True)
    except schemas.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    except schemas.SchemaNotFoundError as error:
        return None if (thing["apiVersion"], thing["kind"]) in CUSTOM else error.message


@functools.cache
def parse(document):
    return yaml.load(document, yaml.CSafeLoader)


def bytes_of(quantity):
    """As Kubernetes writes quantities; 0 for none."""
    match = re.match(r"^(\d+(?:\.\d+)?)([kMGTP]?)(i?)$", str(quantity))
    return float(match[1]) * (1024 if match[3] else 1000) ** " kMGTP".index(match[2] or " ") if match else 0


def hosts_of(url):
    """The hosts of an address."""
    match = re.match(r"(?:postgres|redis)://(?:[^@/]*@)?([^/]+)", str(url))
    return [host.partition(":")[0] for host in match[1].split(",")] if match else []


class Overlay:
    """The objects of one file, and what is wrong with them."""

    def __init__(self, name, text, allows_node_port):
        self.name = name
        self.objects = [thing for thing in map(parse, re.split(r"^---\n", text, flags=re.MULTILINE)) if thing]
        self.allows_node_port = allows_node_port
        self.faults = []

    def fault(self, thing, text):
        self.faults.append(f"{self.name}: {thing['kind']} {thing['metadata']['name']}: {text}")

    def kind(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def find(self, kind, name):
        return next((thing for thing in self.kind(kind) if thing["metadata"]["name"] == name), None)

    def pods(self):
        """Labels and pod of each workload; of an operator's database what it will make."""
        for thing in self.kind(*WORKLOADS):
            template = thing["spec"]["template"]
            yield thing, template["metadata"].get("labels", {}), template["spec"]
        for thing in self.kind("Cluster"):
            yield thing, {"cnpg.io/cluster": thing["metadata"]["name"]}, {"containers": []}

    def selected(self, labels):
        return [pod for _, has, pod in self.pods() if labels.items() <= has.items()]

    def check_schemas(self, versions):
        for version in versions:
            for thing in self.objects:
                fault = schema_fault(json.dumps(thing), version)
                if fault:
                    self.fault(thing, f"Kubernetes {version}: {fault}")
        return self.faults

    def check_policy(self):
        if not self.objects:
            self.faults.append(f"{self.name}: there is nothing in it")
        for thing in self.objects:
            self.check_object(thing)
        for thing in self.kind(*WORKLOADS):
            self.check_pod(thing, thing["spec"]["template"]["spec"])
        for thing in self.kind("Deployment"):
            self.check_deployment(thing)
        for thing in self.kind("StatefulSet"):
            for claim in thing["spec"].get("volumeClaimTemplates", []):
                if claim["metadata"].keys() != {"name"}:
                    self.fault(thing, "volumeClaimTemplates cannot be changed later: they have a name and nothing else")
            if not self.find("Service", thing["spec"]["serviceName"]):
                self.fault(thing, f"there is no Service {thing['spec']['serviceName']}")
        for thing in self.kind("Job"):
            self.check_job(thing)
        for thing in self.kind("Service"):
            self.check_service(thing)
        self.check_selectors()
        self.check_database_memory()
        self.check_monitors()
        self.check_routes()
        self.check_policies()
        self.check_addresses()
        self.check_ways()
        self.check_operator()
        if self.find("Deployment", "polls") and not self.kind("Job"):
            self.faults.append(f"{self.name}: no Job migrates the database")
        return self.faults

    def check_object(self, thing):
        if thing["kind"] not in KINDS:
            self.fault(thing, "nothing of this kind is needed")
        same = [other for other in self.kind(thing["kind"]) if other["metadata"]["name"] == thing["metadata"]["name"]]
        if len(same) > 1:
            self.fault(thing, "there are several of this name")
        custom = CUSTOM.get((thing["apiVersion"], thing["kind"]))
        if custom:
            self.check_custom(thing, "spec", thing["spec"], custom)
        if thing["kind"] == "Namespace":
            for mode in ("enforce", "warn"):
                if thing["metadata"].get("labels", {}).get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                    self.fault(thing, f"pod-security.kubernetes.io/{mode} is not restricted")
        elif not self.find("Namespace", thing["metadata"].get("namespace")):
            self.fault(thing, "it is in no namespace of the overlay")
        if thing["kind"] == "ConfigMap":
            for name, value in thing.get("data", {}).items():
                self.check_value(thing, name, str(value))

    def check_custom(self, thing, path, value, known):
        """`known` is a type, a set of words, a list of one, or a table by field, where * is any."""
        if isinstance(known, dict):
            if not isinstance(value, dict):
                return self.fault(thing, f"{path} is no table")
            for name, inner in value.items():
                if name not in known and "*" not in known:
                    self.fault(thing, f"{path}.{name} is not known")
                else:
                    self.check_custom(thing, f"{path}.{name}", inner, known.get(name) or known["*"])
        elif isinstance(known, list):
            if not isinstance(value, list):
                return self.fault(thing, f"{path} is no list")
            for inner in value:
                self.check_custom(thing, f"{path}[]", inner, known[0])
        elif isinstance(known, set):
            if value not in known:
                self.fault(thing, f"{path} is {value!r}, not one of {sorted(known)}")
        elif type(value) is not known:
            self.fault(thing, f"{path} is {value!r}, not of type {known.__name__}")

    def check_value(self, thing, name, value):
        """No password is in a ConfigMap or a variable, which more users can read than Secrets."""
        if PASSWORD_IN_URL.search(value) or DEFAULT_PASSWORD.search(value):
            self.fault(thing, f"{name} has a password in it")
        if name in UNSAFE and UNSAFE[name].search(value):
            self.fault(thing, f"{name} is not safe as {value!r}")
        if SECRET_NAME.search(name) and not name.endswith("_FILE") and value:
            self.fault(thing, f"{name} belongs into a Secret, and into the pod as a file")

    def check_pod(self, thing, pod):
        security = pod.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.get(field):
                self.fault(thing, f"{field} is not restricted")
        if pod.get("enableServiceLinks") is not False:
            self.fault(thing, "enableServiceLinks is not false: other Services would become settings")
        selector = thing["spec"].get("selector", {}).get("matchLabels", {})
        if not selector.items() <= thing["spec"]["template"]["metadata"]["labels"].items():
            self.fault(thing, "its selector does not select its own pods")
        if pod.get("automountServiceAccountToken") is not False:
            self.fault(thing, "automountServiceAccountToken is not false")
        if not self.find("ServiceAccount", pod.get("serviceAccountName")):
            self.fault(thing, f"there is no ServiceAccount {pod.get('serviceAccountName')}")
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        claims = {claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])}
        for volume in volumes.values():
            self.check_volume(thing, volume)
        for container in pod["containers"] + pod.get("initContainers", []):
            self.check_container(thing, container, security)
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            if len(set(paths)) < len(paths) or not all(path.startswith("/") for path in paths):
                self.fault(thing, f"{container['name']}: the mounts {paths} are not absolute, or not different")
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes.keys() | claims:
                    self.fault(thing, f"there is no volume {mount['name']}")
            self.check_secret_files(thing, container, volumes)

    def check_volume(self, thing, volume):
        kinds = volume.keys() - {"name"}
        if not kinds <= {"secret", "configMap", "emptyDir", "persistentVolumeClaim"}:
            return self.fault(thing, f"the volume {volume['name']} is of a kind that is not allowed: {sorted(kinds)}")
        if "secret" in volume:
            secret = volume["secret"]
            keys = [] if secret.get("optional") else [item["key"] for item in secret.get("items", [])]
            self.check_secret(thing, secret["secretName"], keys)
        if "persistentVolumeClaim" in volume and not self.find("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]):
            self.fault(thing, f"there is no PersistentVolumeClaim {volume['persistentVolumeClaim']['claimName']}")
        if "configMap" in volume and not self.find("ConfigMap", volume["configMap"]["name"]):
            self.fault(thing, f"there is no ConfigMap {volume['configMap']['name']}")

    def check_secret_files(self, thing, container, volumes):
        """The files that variables name are there."""
        files = set()
        for mount in container.get("volumeMounts", []):
            for item in volumes.get(mount["name"], {}).get("secret", {}).get("items", []):
                files.add(f"{mount['mountPath']}/{item['path']}")
        for variable in container.get("env", []):
            if variable["name"].endswith("_FILE") and variable.get("value") not in files:
                self.fault(thing, f"{variable['name']}: no Secret is mounted at {variable.get('value')}")

    def check_secret(self, thing, name, keys):
        made_by_operator = {f"{cluster['metadata']['name']}-ca": {"ca.crt"} for cluster in self.kind("Cluster")}
        secret = self.find("Secret", name)
        if secret:
            has = secret.get("data", {}).keys() | secret.get("stringData", {}).keys()
        elif name in made_by_operator:
            has = made_by_operator[name]
        else:
            return self.fault(thing, f"there is no Secret {name}")
        for key in keys:
            if key not in has:
                self.fault(thing, f"the Secret {name} has no {key}")

    def check_container(self, thing, container, pod_security):
        security = {**pod_security, **container.get("securityContext", {})}
        for field, wanted in [
            ("runAsNonRoot", True),
            ("allowPrivilegeEscalation", False),
            ("readOnlyRootFilesystem", True),
            ("capabilities", {"drop": ["ALL"]}),
            ("seccompProfile", {"type": "RuntimeDefault"}),
        ]:
            if security.get(field) != wanted:
                self.fault(thing, f"{container['name']}: securityContext.{field} is not {wanted}")
        if security.get("privileged"):
            self.fault(thing, f"{container['name']}: it is privileged")
        if any("hostPort" in port for port in container.get("ports", [])):
            self.fault(thing, f"{container['name']}: hostPort opens the machine")
        if container.get("livenessProbe", {}).get("successThreshold", 1) != 1:
            self.fault(thing, f"{container['name']}: livenessProbe can have no successThreshold but 1")
        if not security.get("runAsUser"):
            self.fault(thing, f"{container['name']}: runAsUser is no user's number")
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest"):
            self.fault(thing, f"{container['name']}: the image {container['image']} has no fixed tag")
        if container.get("imagePullPolicy") not in ("IfNotPresent", "Always", "Never"):
            self.fault(thing, f"{container['name']}: imagePullPolicy is {container.get('imagePullPolicy')!r}")
        self.check_resources(thing, container)
        names = {port.get("name") for port in container.get("ports", [])}
        for port in container.get("ports", []):
            if not 0 < port["containerPort"] < 65536:
                self.fault(thing, f"{container['name']}: there is no port {port['containerPort']}")
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(kind, {})
            for action in ("httpGet", "tcpSocket"):
                port = probe.get(action, {}).get("port")
                if action in probe and port not in names:
                    self.fault(thing, f"{container['name']}: {kind} asks the port {port}, and there is none of that name")
        for source in container.get("envFrom", []):
            if "configMapRef" in source and not self.find("ConfigMap", source["configMapRef"]["name"]):
                self.fault(thing, f"there is no ConfigMap {source['configMapRef']['name']}")
            if "secretRef" in source:
                self.fault(thing, "secrets are files, not variables")
        for variable in container.get("env", []):
            self.check_value(thing, variable["name"], str(variable.get("value", "")))
            if "secretKeyRef" in variable.get("valueFrom", {}):
                self.fault(thing, f"{variable['name']}: secrets are files, not variables")

    def check_resources(self, thing, container):
        resources = container.get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        if not {"cpu", "memory"} <= requests.keys() or "memory" not in limits:
            self.fault(thing, f"{container['name']}: requests for cpu and memory, and a limit for memory, are needed")
        if bytes_of(requests.get("memory", 0)) > bytes_of(limits.get("memory", 0)):
            self.fault(thing, f"{container['name']}: it asks for more memory than it may have")
        if "cpu" in limits:
            self.fault(thing, f"{container['name']}: a limit for cpu slows it down where there is time to spare")
        for quantity in [*requests.values(), *limits.values()]:
            if not QUANTITY.match(str(quantity)):
                self.fault(thing, f"{container['name']}: {quantity!r} is no quantity")

    def check_deployment(self, thing):
        spec, pod = thing["spec"], thing["spec"]["template"]["spec"]
        scaled = [scaler["spec"]["scaleTargetRef"]["name"] for scaler in self.kind("HorizontalPodAutoscaler")]
        if thing["metadata"]["name"] in scaled and "replicas" in spec:
            self.fault(thing, "the autoscaler says how many, so replicas must not")
        if pod["containers"][0]["name"] != "polls":
            return
        if "replicas" in spec:
            self.fault(thing, "each apply would undo a change of its number: replicas must not be there")
        for label in ("app.kubernetes.io/version", "app.kubernetes.io/part-of"):
            if label not in thing["metadata"]["labels"]:
                self.fault(thing, f"it has no label {label}")
        rolling = spec.get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0:
            self.fault(thing, "maxUnavailable is not 0: an update would take pods away before there are others")
        if not any("matchLabelKeys" in spread for spread in pod.get("topologySpreadConstraints", [])):
            self.fault(thing, "the pods are not spread over the machines")
        container = pod["containers"][0]
        for kind, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            if container.get(kind, {}).get("httpGet", {}).get("path") != path:
                self.fault(thing, f"{kind} does not ask {path}")
        startup = container.get("startupProbe", {})
        if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 30:
            self.fault(thing, "startupProbe gives up before 30 seconds")
        if container.get("readinessProbe", {}).get("timeoutSeconds", 1) < 2:
            self.fault(thing, "readinessProbe waits no longer than /readyz itself")
        liveness = container.get("livenessProbe", {})
        # The first probe after it has hung comes within a period; the last one waits for its timeout.
        period, timeout = liveness.get("periodSeconds", 10), liveness.get("timeoutSeconds", 1)
        grace = liveness.get("terminationGracePeriodSeconds", pod.get("terminationGracePeriodSeconds", 30))
        restart = period * liveness.get("failureThreshold", 3) + timeout + grace
        if restart > 30:
            self.fault(thing, f"a process that hangs is restarted after {restart} s, and not within 30")
        hook = container.get("lifecycle", {}).get("preStop", {})
        if "sleep" not in hook:
            self.fault(thing, "preStop does not sleep; there is no shell that it could run")
        config = self.find("ConfigMap", container["envFrom"][0]["configMapRef"]["name"])
        delay = int((config or {}).get("data", {}).get("SHUTDOWN_DELAY", 0))
        needed = hook.get("sleep", {}).get("seconds", 0) + delay + GRACEFUL_TIMEOUT
        if pod.get("terminationGracePeriodSeconds", 30) <= needed:
            self.fault(thing, f"terminationGracePeriodSeconds is not more than the {needed} s that an end may take")

    def check_job(self, thing):
        spec = thing["spec"]
        if spec["template"]["spec"].get("restartPolicy") not in ("OnFailure", "Never"):
            self.fault(thing, "restartPolicy is neither OnFailure nor Never")
        if "backoffLimit" not in spec or "ttlSecondsAfterFinished" not in spec:
            self.fault(thing, "backoffLimit and ttlSecondsAfterFinished are needed")
        # A Job cannot be changed: another release or configuration is another Job.
        container = spec["template"]["spec"]["containers"][0]
        config = container["envFrom"][0]["configMapRef"]["name"]
        if thing["metadata"]["name"] != config:
            self.fault(thing, f"its name is not that of its ConfigMap {config}, which ends in a hash of the configuration")
        tag = container["image"].partition("@")[0].rpartition(":")[2]
        release = (self.find("ConfigMap", config) or {}).get("data", {}).get("RELEASE")
        if tag != release:
            self.fault(thing, f"RELEASE is {release} in its ConfigMap, and the image's tag {tag}")

    def check_service(self, thing):
        spec = thing["spec"]
        kind = spec.get("type", "ClusterIP")
        if kind != "ClusterIP" and not (kind == "NodePort" and self.allows_node_port and thing["metadata"]["name"] == "polls"):
            self.fault(thing, f"its type {kind} opens it to the outside")
        if spec.get("externalIPs"):
            self.fault(thing, "externalIPs open it to the outside")
        pods = self.selected(spec.get("selector", {}))
        if not pods:
            self.fault(thing, "its selector selects no pod")
        for port in spec["ports"]:
            for pod in pods:
                names = {port.get("name") for container in pod["containers"] for port in container.get("ports", [])}
                if port["targetPort"] not in names:
                    self.fault(thing, f"the pod has no port {port['targetPort']}")

    def check_selectors(self):
        for thing in self.kind("PodDisruptionBudget"):
            pods = self.selected(thing["spec"]["selector"]["matchLabels"])
            if not pods:
                self.fault(thing, "its selector selects no pod")
            if thing["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
                self.fault(thing, "pods that are not ready stop the draining of a node: unhealthyPodEvictionPolicy is not AlwaysAllow")
            if thing["spec"].get("maxUnavailable") == 0:
                self.fault(thing, "maxUnavailable 0 stops the draining of a node")
            if "minAvailable" in thing["spec"]:
                self.fault(thing, "minAvailable stops the draining of a node when there is one pod: use maxUnavailable")
        for thing in self.kind("HorizontalPodAutoscaler"):
            spec = thing["spec"]
            if spec.get("minReplicas", 1) > spec["maxReplicas"]:
                self.fault(thing, "minReplicas is more than maxReplicas")
            self.check_connections(thing, spec["maxReplicas"])
            target = spec["scaleTargetRef"]
            if not self.find(target["kind"], target["name"]):
                self.fault(thing, f"there is no {target['kind']} {target['name']}")

    def check_monitors(self):
        """The pods that are scraped have that port."""
        for thing in self.kind("PodMonitor"):
            pods = self.selected(thing["spec"]["selector"]["matchLabels"])
            if not pods:
                self.fault(thing, "its selector selects no pod")
            for endpoint in thing["spec"]["podMetricsEndpoints"]:
                for pod in pods:
                    names = {port.get("name") for container in pod["containers"] for port in container.get("ports", [])}
                    if endpoint["port"] not in names:
                        self.fault(thing, f"the pod has no port {endpoint['port']}")

    def check_connections(self, thing, pods):
        """All pods' connections, and one pod's more in an update, fit into the database."""
        said = [config["data"].get("postgresql.conf", "") for config in self.kind("ConfigMap")]
        said += [f"max_connections = {c['spec']['postgresql']['parameters']['max_connections']}" for c in self.kind("Cluster")]
        most = re.search(r"max_connections = (\d+)", "\n".join(said))
        sizes = [int(config["data"]["DATABASE_POOL_SIZE"]) for config in self.kind("ConfigMap") if "DATABASE_POOL_SIZE" in config["data"]]
        # Each has three more, for health checks, the standby's lag and notifications of changes.
        if most and sizes and (pods + 1) * (sizes[0] + 3) > int(most[1]):
            self.fault(thing, f"{pods} pods of {sizes[0]} connections are too many for max_connections {most[1]}")

    def check_database_memory(self):
        """Shared buffers, connections and /dev/shm fit into the limit of PostgreSQL's pod."""
        said = "\n".join(config["data"].get("postgresql.conf", "") for config in self.kind("ConfigMap"))
        for thing in self.kind("StatefulSet"):
            buffers, connections = (re.search(rf"{name} = '?(\d+)", said) for name in ("shared_buffers", "max_connections"))
            shm = [v["emptyDir"] for v in thing["spec"]["template"]["spec"]["volumes"] if v["name"] == "shm"]
            needed = (int(buffers[1]) + 4 * int(connections[1])) * 2**20 + bytes_of(shm[0]["sizeLimit"])
            limit = thing["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
            if needed > bytes_of(limit):
                self.fault(thing, f"its buffers, connections and /dev/shm need {needed / 2**20:.0f} MiB, and the limit is {limit}")

    def check_routes(self):
        backends = []
        for thing in self.kind("Ingress"):
            for rule in thing["spec"]["rules"]:
                services = [path["backend"]["service"] for path in rule["http"]["paths"]]
                backends += [(thing, service["name"], service["port"].get("name")) for service in services]
            secure = {host for tls in thing["spec"].get("tls", []) for host in tls.get("hosts", [])}
            if not secure:
                self.fault(thing, "it does not speak HTTPS")
            elif secure != {rule["host"] for rule in thing["spec"]["rules"]}:
                self.fault(thing, f"it speaks HTTPS as {sorted(secure)}, and routes others")
        for thing in self.kind("HTTPRoute"):
            for rule in thing["spec"]["rules"]:
                backends += [(thing, backend["name"], backend["port"]) for backend in rule.get("backendRefs", [])]
        for thing, name, port in backends:
            service = self.find("Service", name)
            if not service:
                self.fault(thing, f"there is no Service {name}")
            elif not any(port in (has.get("name"), has["port"]) for has in service["spec"]["ports"]):
                self.fault(thing, f"the Service {name} has no port {port}")

    def check_policies(self):
        specs = [thing["spec"] for thing in self.kind("NetworkPolicy")]
        denies_all = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        if denies_all not in specs:
            self.faults.append(f"{self.name}: no NetworkPolicy denies what is not allowed")
        for thing in self.kind("NetworkPolicy"):
            spec = thing["spec"]
            peers = [peer for rule in spec.get("ingress", []) for peer in rule.get("from", [])]
            peers += [peer for rule in spec.get("egress", []) for peer in rule.get("to", [])]
            for selector in [spec["podSelector"], *(peer.get("podSelector") for peer in peers)]:
                if selector and not self.selected(selector["matchLabels"]):
                    self.fault(thing, f"no pod has the labels {selector['matchLabels']}")
        for _, labels, pod in self.pods():
            ports = {port.get("name") for container in pod["containers"] for port in container.get("ports", [])}
            if not ports & {"postgres", "redis"}:
                continue
            peers = [peer for spec in specs for rule in spec.get("ingress", []) for peer in rule.get("from", [{}])]
            if any(peer.get("namespaceSelector") == {} or peer.get("podSelector") == {} for peer in peers):
                self.faults.append(f"{self.name}: a NetworkPolicy admits all pods")
            guards = [spec for spec in specs if spec["podSelector"] and spec["podSelector"]["matchLabels"].items() <= labels.items()]
            if not any(all("from" in rule for rule in spec.get("ingress", [{}])) for spec in guards):
                self.faults.append(f"{self.name}: all pods may connect to {labels}")

    def allows(self, policy, end, labels, port):
        """Whether a rule lets a pod of these labels through, from or to (`end`) there."""
        rules = policy["spec"].get("ingress" if end == "from" else "egress", [])
        for rule in rules:
            peers = rule.get(end)
            is_peer = peers is None or any(
                "podSelector" in peer and peer["podSelector"].get("matchLabels", {}).items() <= labels.items() for peer in peers
            )
            if is_peer and any(allowed.get("port") == port for allowed in rule.get("ports", [])):
                return True
        return False

    def check_reach(self, thing, labels, other, port, names):
        """A pod may talk to another, as one's egress and the other's ingress have it."""
        policies = self.kind("NetworkPolicy")
        applies = lambda policy, to: policy["spec"]["podSelector"].get("matchLabels", {}).items() <= to.items()
        out = any(applies(p, labels) and self.allows(p, "to", other, port) for p in policies)
        into = any(applies(p, other) and any(self.allows(p, "from", labels, name) for name in (port, *names)) for p in policies)
        if not out or not into:
            self.fault(thing, f"no NetworkPolicy lets {labels} reach {other} at port {port}")

    def check_ways(self):
        """The pods can reach the addresses in their settings, and a name server."""
        for thing, labels, pod in self.pods():
            if thing["kind"] == "Cluster":
                continue
            names = [p for p in self.kind("NetworkPolicy") if p["spec"]["podSelector"].get("matchLabels", {}).items() <= labels.items()]
            if not any(allowed.get("port") == 53 for p in names for rule in p["spec"].get("egress", []) for allowed in rule.get("ports", [])):
                self.fault(thing, "no NetworkPolicy lets it ask for names")
            if labels.get("app.kubernetes.io/name") != "polls":
                continue
            for url, port in (("DATABASE_URL", 5432), ("DATABASE_REPLICA_URL", 5432), ("CACHE_URL", 6379)):
                if url != "DATABASE_URL" and thing["kind"] == "Job":
                    continue
                for host in [host for config in self.kind("ConfigMap") for host in hosts_of(config["data"].get(url, ""))]:
                    target = self.service_of(host)
                    if target:
                        self.check_reach(thing, labels, target, port, {"postgres", "redis"})
                    else:
                        self.check_reach(thing, labels, {"cnpg.io/cluster": host.rpartition("-")[0]}, port, set())

    def check_operator(self):
        """What CloudNativePG is told exists under that very name."""
        stores = {thing["metadata"]["name"] for thing in self.kind("ObjectStore")}
        for thing in self.kind("Cluster"):
            secret = thing["spec"]["bootstrap"]["initdb"]["secret"]["name"]
            self.check_secret(thing, secret, ["username", "password"])
            for plugin in thing["spec"].get("plugins", []):
                if plugin["parameters"]["barmanObjectName"] not in stores:
                    self.fault(thing, f"there is no ObjectStore {plugin['parameters']['barmanObjectName']}")
            # The pods have the password from one Secret, the operator from another.
            mine, theirs = self.find("Secret", secret), [s for s in self.kind("Secret") if "DATABASE_PASSWORD" in s.get("data", {})]
            decode = lambda text: "".join(text.split())
            if mine and theirs and decode(mine["data"]["password"]) != decode(theirs[0]["data"]["DATABASE_PASSWORD"]):
                self.fault(thing, f"the password in {secret} is not that of the pods")
        for thing in self.kind("ObjectStore"):
            for reference in thing["spec"]["configuration"]["s3Credentials"].values():
                self.check_secret(thing, reference["name"], [reference["key"]])
        for thing in self.kind("ScheduledBackup"):
            if not self.find("Cluster", thing["spec"]["cluster"]["name"]):
                self.fault(thing, f"there is no Cluster {thing['spec']['cluster']['name']}")
            if len(thing["spec"]["schedule"].split()) != 6:
                self.fault(thing, "its schedule has not six fields, the first of which is seconds")

    def check_addresses(self):
        """The hosts in the settings are Services, or pods of a StatefulSet under a headless Service."""
        clusters = [cluster["metadata"]["name"] for cluster in self.kind("Cluster")]
        made_by_operator = {f"{cluster}-{kind}" for cluster in clusters for kind in ("rw", "ro", "r")}
        for thing in self.kind("ConfigMap"):
            for name, value in thing.get("data", {}).items():
                for host in hosts_of(value) if name.endswith("_URL") else []:
                    if host not in made_by_operator and not self.service_of(host):
                        self.fault(thing, f"{name} names the host {host}, which is no Service")

    def service_of(self, host):
        """The selector of a Service, or the labels of a pod of a StatefulSet, by their name; None if there is none."""
        pod, _, service = host.partition(".")
        if not service:
            found = self.find("Service", host)
            return found and found["spec"]["selector"]
        stateful = self.find("StatefulSet", pod.rpartition("-")[0])
        headless = self.find("Service", service)
        if stateful and headless and stateful["spec"]["serviceName"] == service and headless["spec"].get("clusterIP") == "None":
            return stateful["spec"]["template"]["metadata"]["labels"]
        return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--node-port", action="store_true")
    parser.add_argument("--kubernetes", type=lambda text: text.split(","), required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    faults = []
    for path in arguments.files:
        with open(path, encoding="utf-8") as file:
            overlay = Overlay(path.rpartition("/")[2], file.read(), arguments.node_port)
        faults += overlay.check_schemas(arguments.kubernetes) or overlay.check_policy()
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
