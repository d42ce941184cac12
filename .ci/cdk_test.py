"""The CDK package, compiled, packed and installed as a user does it, deploys what the template does."""

import functools
import json
import re
import shutil
import tarfile
import tempfile
import unittest
from pathlib import Path

import deployed
from cases import CASES, PROPERTY, ROOT, WORKSPACE, Same, named, zips_of_a_release
from deployed import of_cloudformation
from modules import WORK, node, packed

PAGES = [ROOT / "docs/cdk.md", ROOT / "examples/cdk/README.md"]


@functools.cache
def installed():
    """The package, packed with zips that are not programs, and installed for an app in target/ci/cdk/app."""
    with tempfile.TemporaryDirectory() as directory:
        zips = zips_of_a_release(directory)
        archive = packed(zips, directory)
        app = WORK / "app"
        shutil.rmtree(app, ignore_errors=True)
        home = app / "node_modules/lockstep-cdk"
        home.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                member.name = member.name.removeprefix("package/")
                tar.extract(member, home, filter="data")
    # As `cdk init` makes it.
    options = {"target": "ES2022", "module": "NodeNext", "moduleResolution": "NodeNext", "types": ["node"]}
    options |= {"strict": True, "noEmit": True, "skipLibCheck": True}
    config = {"compilerOptions": options, "include": ["*.ts"]}
    (app / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    return app


def synthesized(app, script, *arguments):
    """The templates of an app, by the names of their stacks."""
    out = app / "out" / Path(script).stem
    shutil.rmtree(out, ignore_errors=True)
    node("tsx", script, *arguments, directory=app, CDK_OUTDIR=str(out))
    return {it.name.removesuffix(".template.json"): json.loads(it.read_text(encoding="utf-8")) for it in out.glob("*.template.json")}


@functools.cache
def of_cdk():
    app = installed()
    shutil.copy(ROOT / ".ci/cdk/compare.ts", app)
    cases = {
        case: {"kind": kind} | {PROPERTY[name]: value for name, value in values.items()} for case, (kind, values) in CASES.items()
    }
    (app / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    templates = synthesized(app, "compare.ts", "cases.json")
    found = {}
    for case, (kind, values) in CASES.items():
        resources, outputs = templates[case]["Resources"], templates[case]["Outputs"]
        found[case] = of_cloudformation(resources, {}, kind, *named(kind, values))
        found[case].attach, = [deployed.Resolver(resources, {})(it["Value"]) for name, it in outputs.items() if "AttachCommand" in name]
    return found


class Cdk(Same):
    def test_it_deploys_what_the_template_does(self):
        self.check(of_cdk())

    def test_the_package_is_what_users_install(self):
        app = installed()
        manifest = json.loads((app / "node_modules/lockstep-cdk/package.json").read_text(encoding="utf-8"))
        self.assertEqual(manifest["version"], WORKSPACE["version"])
        self.assertEqual(manifest["license"], WORKSPACE["license"])
        files = {str(it.relative_to(app / "node_modules/lockstep-cdk")) for it in (app / "node_modules/lockstep-cdk").rglob("*") if it.is_file()}
        self.assertLessEqual({"dist/index.js", "dist/index.d.ts", "README.md", "LICENSE", "functions/lockstep-api-key-arm64.zip"}, files)
        self.assertEqual([it for it in files if it.startswith(("src", "node_modules", "app"))], [])

    def test_versions_of_packages_are_exact(self):
        manifest = json.loads((ROOT / "examples/cdk/package.json").read_text(encoding="utf-8"))
        for name, version in manifest["devDependencies"].items():
            self.assertRegex(version, r"^\d+\.\d+\.\d+$", name)

    def test_each_app_of_the_pages_compiles_and_gives_templates_without_a_cycle(self):
        app, stacks = installed(), {}
        for page in PAGES:
            for at, block in enumerate(re.findall(r"(?ms)^```ts\n(.*?)^```$", page.read_text(encoding="utf-8"))):
                (app / f"page-{page.stem}-{at}.ts").write_text(block, encoding="utf-8")
        node("tsc", directory=app)
        for script in sorted(it.name for it in app.glob("page-*.ts")):
            stacks[script] = synthesized(app, script)
        # The same stack, two stacks, no VPC.
        shapes = [sorted(stacks[f"page-README-{at}.ts"]) for at in range(3)]
        self.assertEqual(shapes, [["orders"], ["lockstep", "orders"], ["keys"]])
        for script, templates in stacks.items():
            with self.subTest(script):
                self.one_way(templates)
                self.permissions(templates)

    def test_another_stack_s_secrets_are_attached_with_their_keys_and_tag(self):
        app = installed()
        shutil.copy(ROOT / ".ci/cdk/attached.ts", app)
        templates = synthesized(app, "attached.ts")
        self.one_way(templates)
        self.permissions(templates)
        schedules = [it["Properties"] for it in of_type(templates["lockstep"], "AWS::SecretsManager::RotationSchedule")]
        self.assertEqual(sorted(it["RotateImmediatelyOnUpdate"] for it in schedules), [False, True])
        self.assertEqual(list(of_type(templates["data"], "AWS::SecretsManager::RotationSchedule")), [])
        role, = of_type(templates["lockstep"], "AWS::IAM::Role")
        keys, = [it for it in role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"] if it["Sid"] == "KeysOfTheSecrets"]
        self.assertEqual(len(keys["Resource"]), 3)
        secrets = [it["Properties"] for it in of_type(templates["data"], "AWS::SecretsManager::Secret")]
        tagged = [it["Name"] for it in secrets if {"Key": "team", "Value": "orders"} in it.get("Tags", [])]
        self.assertEqual(sorted(tagged), ["prod/plain", "prod/user"])
        # The port of the database is open to the function's group.
        rules = [rule for template in templates.values() for rule in of_type(template, "AWS::EC2::SecurityGroupIngress")]
        self.assertEqual(len(rules), 1)

    def test_a_mistake_is_an_error_that_says_what_is_wrong(self):
        app = installed()
        shutil.copy(ROOT / ".ci/cdk/refused.ts", app)
        found = json.loads(node("tsx", "refused.ts", directory=app).splitlines()[-1])
        for case, words in {
            "a property of another kind": "allowMd5 is not for a function of the kind mysql, but for postgres",
            "admin secrets of a database": "adminSecrets is not for a function of the kind postgres",
            "hosted zones of a database": "hostedZones is not for a function of the kind postgres, but for tls",
            "a name that is too long": "at most 63 letters",
            "a short timeout": "15 to 900 seconds",
            "groups without a VPC": "need vpc",
            "a superuser without the end of its ARN": "fromSecretCompleteArn",
            "a secret without the prefix": "does not begin with prod/",
            "connections without a VPC": "VPC",
            "nothing": "accepted",
        }.items():
            self.assertIn(words, found.pop(case))
        self.assertEqual(found, {})

    def permissions(self, templates):
        """No service may invoke a function on behalf of another account."""
        found = [it["Properties"] for template in templates.values() for it in of_type(template, "AWS::Lambda::Permission")]
        self.assertGreaterEqual(len(found), 1)
        for it in found:
            self.assertIn({"secretsmanager.amazonaws.com": "SourceAccount", "events.amazonaws.com": "SourceArn"}[it["Principal"]], it)

    def one_way(self, templates):
        """Stacks import from one another in one direction only. (The CDK refuses most cycles itself, when it synthesizes.)"""
        imports = {
            name: {it.split(":")[0] for it in re.findall(r'"Fn::ImportValue": "([^"]+)"', json.dumps(template))}
            for name, template in templates.items()
        }
        for name, others in imports.items():
            self.assertEqual([it for it in others if name in imports.get(it, ())], [])


def of_type(template, kind):
    return (it for it in template["Resources"].values() if it["Type"] == kind)


if __name__ == "__main__":
    unittest.main()
