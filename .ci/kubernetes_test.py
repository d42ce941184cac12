"""The manifests in examples/kubernetes fit Kubernetes' own schemas, custom resources have known fields, and docs/kubernetes.md names each file."""

import unittest

import kubernetes_validate
import yaml
from template import ROOT

VERSION = "1.37"
EXAMPLES = ROOT / "examples/kubernetes"
PAGE = ROOT / "docs/kubernetes.md"


# The fields that the examples use of custom resources, by the operators' definitions: external-secrets v2.9.0
# (config/crds/bases/external-secrets.io_*.yaml) and secrets-store-csi-driver v1.6.0 (config/crd/bases). A type in a list is the
# type of each entry.
CUSTOM = {
    ("external-secrets.io/v1", "ExternalSecret"): {
        "refreshInterval": str,
        "secretStoreRef": {"kind": str, "name": str},
        "target": {"name": str},
        "data": [{"secretKey": str, "remoteRef": {"key": str, "version": str}}],
    },
    ("external-secrets.io/v1", "SecretStore"): {
        "provider": {"aws": {"service": str, "region": str, "auth": {"jwt": {"serviceAccountRef": {"name": str}}}}},
    },
    ("secrets-store.csi.x-k8s.io/v1", "SecretProviderClass"): {
        "provider": str,
        "parameters": {"region": str, "objects": str},
    },
}


class Misfit(Exception):
    """A field that the definition does not have, or of another type. The API server drops the first kind without a word."""


def fit(value, expected, place):
    if isinstance(expected, dict):
        if not isinstance(value, dict) or set(value) - set(expected):
            raise Misfit(f"{place}: {value}")
        for key, part in value.items():
            fit(part, expected[key], f"{place}.{key}")
    elif isinstance(expected, list):
        if not isinstance(value, list):
            raise Misfit(f"{place}: {value}")
        for part in value:
            fit(part, expected[0], place)
    elif not isinstance(value, expected):
        raise Misfit(f"{place}: {value}")


def validate(manifest):
    custom = CUSTOM.get((manifest["apiVersion"], manifest["kind"]))
    if custom:
        metadata = {"name": str, "namespace": str}
        fit(manifest, {"apiVersion": str, "kind": str, "metadata": metadata, "spec": custom}, manifest["kind"])
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def manifests():
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path, manifest


def pods():
    for path, manifest in manifests():
        spec = manifest.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template:
            yield path, template["spec"]


class Kubernetes(unittest.TestCase):
    def test_each_manifest_fits_its_schema(self):
        kinds = set()
        for path, manifest in manifests():
            with self.subTest(path=path.name, kind=manifest["kind"]):
                validate(manifest)
            kinds.add(manifest["kind"])
        self.assertLessEqual({kind for _, kind in CUSTOM}, kinds)

    def test_a_misspelt_field_is_refused(self):
        for kind, at, name in [
            ("ExternalSecret", ["spec"], "refreshIntervall"),
            ("ExternalSecret", ["spec", "data", 0, "remoteRef"], "versionStage"),
            ("SecretStore", ["spec", "provider", "aws"], "regions"),
            ("SecretProviderClass", ["spec"], "params"),
            ("Deployment", ["spec", "template", "spec"], "serviceaccountName"),
            ("CronJob", ["spec"], "timezone"),
        ]:
            with self.subTest(kind=kind, name=name):
                manifest = next(it for _, it in manifests() if it["kind"] == kind)
                validate(manifest)
                place = manifest
                for step in at:
                    place = place[step]
                place[name] = "x"
                with self.assertRaises((Misfit, kubernetes_validate.ValidationError)):
                    validate(manifest)

    def test_a_rotated_secret_reaches_the_pods(self):
        """Neither a variable nor a file that is mounted by subPath ever changes."""
        for path, pod in pods():
            for container in pod["containers"]:
                with self.subTest(path=path.name):
                    self.assertNotIn("envFrom", container)
                    self.assertFalse([it for it in container.get("env", []) if "valueFrom" in it])
                    self.assertFalse([it for it in container.get("volumeMounts", []) if "subPath" in it])

    def test_names_in_a_file_lead_to_each_other(self):
        for path in sorted(EXAMPLES.glob("*.yaml")):
            parts = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            named = {(it["kind"], it["metadata"]["name"]) for it in parts}
            wanted = set()
            for part in parts:
                spec = part.get("spec", {})
                if part["kind"] == "SecretStore":
                    wanted.add(("ServiceAccount", spec["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]["name"]))
                if part["kind"] == "ExternalSecret":
                    wanted.add(("SecretStore", spec["secretStoreRef"]["name"]))
                if part["kind"] == "RoleBinding":
                    wanted.add(("Role", part["roleRef"]["name"]))
            for where, pod in pods():
                if where == path:
                    if "serviceAccountName" in pod:
                        wanted.add(("ServiceAccount", pod["serviceAccountName"]))
                    for volume in pod.get("volumes", []):
                        if "secret" in volume:
                            wanted.add(("ExternalSecret", volume["secret"]["secretName"]))
                        if "csi" in volume:
                            wanted.add(("SecretProviderClass", volume["csi"]["volumeAttributes"]["secretProviderClass"]))
            with self.subTest(path=path.name):
                self.assertLessEqual(wanted, named)

    def test_the_page_names_each_file(self):
        page = PAGE.read_text(encoding="utf-8")
        for path in EXAMPLES.iterdir():
            self.assertIn(f"../examples/kubernetes/{path.name}", page)


if __name__ == "__main__":
    unittest.main()
