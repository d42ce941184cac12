"""The files of a release deploy what the template deploys, and the SAM CLI takes them."""

import contextlib
import copy
import io
import stat
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import no_credentials  # noqa: F401
import boto3
import make_template
import package
from moto import mock_aws
from samcli.commands.package.package_context import PackageContext
from samcli.yamlhelper import yaml_parse
from template import ROOT, load

TEXT = (ROOT / "template.yaml").read_text(encoding="utf-8")
FUNCTIONS = {f"{it['id']}Function": it["name"] for it in make_template.functions()} | {"FleetFunction": "fleet", "FleetPageFunction": "fleet", "LeaksFunction": "fleet"}


def elf_machine(name):
    """The first bytes of a program for a machine."""
    number = {"EM_X86_64": 62, "EM_AARCH64": 183}[name]
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    header[18:20] = number.to_bytes(2, "little")
    return bytes(header)


class Template(unittest.TestCase):
    def test_it_is_the_template_of_the_sources_but_for_the_code(self):
        for architecture in package.MACHINES:
            expected = copy.deepcopy(load(ROOT / "template.yaml"))
            version = expected["Metadata"].pop("AWS::ServerlessRepo::Application")["SemanticVersion"]
            description = expected["Description"].replace("Build with `sam build`, deploy", "Deploy")
            expected["Description"] = description.replace("Lockstep:", f"Lockstep {version}:")
            expected["Parameters"]["Architecture"] |= {
                "Default": architecture, "AllowedValues": [architecture], "Description": package.DESCRIPTION
            }
            for name, function in FUNCTIONS.items():
                del expected["Resources"][name]["Metadata"]
                expected["Resources"][name]["Properties"]["CodeUri"] = f"lockstep-{function}-{architecture}.zip"
            text = package.packaged(TEXT, architecture)
            self.assertEqual(yaml_parse(text), expected)
            for absent in ("functions/", "cargo", "workspace", "sam build"):
                self.assertNotIn(absent, text)

    def test_a_template_that_has_changed_where_it_is_edited_is_refused(self):
        for changed in ("CodeUri: functions/mysql", "AllowedValues: [x86_64, arm64]", "rust-cargolambda"):
            self.assertIn(changed, TEXT)
            with self.assertRaisesRegex(ValueError, "the template has"):
                package.packaged(TEXT.replace(changed, "another"), "arm64")


class Files(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.programs, self.files = Path(directory.name, "programs"), Path(directory.name, "files")
        self.programs.mkdir()
        self.files.mkdir()

    def build(self, machine="EM_AARCH64"):
        for function in package.FUNCTIONS:
            Path(self.programs, f"lockstep-{function}").write_bytes(elf_machine(machine) + function.encode())

    def test_a_zip_has_the_program_executable_and_nothing_else(self):
        self.build()
        package.main("arm64", self.programs, self.files)
        for function in package.FUNCTIONS:
            with zipfile.ZipFile(self.files / f"lockstep-{function}-arm64.zip") as archive:
                entry, = archive.infolist()
                self.assertEqual((entry.filename, entry.create_system), ("bootstrap", 3))
                self.assertEqual(stat.filemode(entry.external_attr >> 16), "-rwxr-xr-x")
                self.assertEqual(archive.read(entry), Path(self.programs, f"lockstep-{function}").read_bytes())

    def test_the_archive_has_what_a_deployment_needs_and_no_trace_of_who_made_it(self):
        self.build()
        package.main("arm64", self.programs, self.files)
        with tarfile.open(self.files / "lockstep-arm64.tar.gz") as archive:
            entries = {it.name.removeprefix("lockstep-arm64/"): it for it in archive.getmembers()}
            zips = {f"lockstep-{it}-arm64.zip" for it in package.FUNCTIONS}
            self.assertEqual(set(entries), zips | {"template-arm64.yaml", "alternating.yaml", "LICENSE"})
            for name, entry in entries.items():
                self.assertEqual((entry.mtime, entry.uid, entry.uname, entry.mode), (0, 0, "", 0o644))
                if name not in ("alternating.yaml", "LICENSE"):
                    self.assertEqual(archive.extractfile(entry).read(), (self.files / name).read_bytes())
            found = yaml_parse(archive.extractfile(entries["alternating.yaml"]).read().decode())
        expected = load(ROOT / "examples/deploy/alternating.yaml")
        expected["Resources"]["Lockstep"]["Properties"]["TemplateURL"] = "template-arm64.yaml"
        self.assertEqual(found, expected)

    def test_the_same_program_makes_the_same_zip(self):
        self.build()
        contents = []
        for _ in range(2):
            package.main("arm64", self.programs, self.files)
            contents.append({it.name: it.read_bytes() for it in self.files.iterdir()})
            for program in self.programs.iterdir():
                program.touch()
                program.chmod(0o600)
        self.assertEqual(*contents)
        self.assertEqual(len(contents[0]), len(package.FUNCTIONS) + 2)

    def test_a_program_for_another_architecture_is_refused(self):
        self.build("EM_X86_64")
        with self.assertRaisesRegex(ValueError, "not for arm64"):
            package.main("arm64", self.programs, self.files)
        package.main("x86_64", self.programs, self.files)

    def test_sam_uploads_each_zip_as_it_is(self):
        self.build()
        package.main("arm64", self.programs, self.files)
        output = self.files / "deployed.yaml"
        with mock_aws():
            s3 = boto3.client("s3", region_name="us-east-1")
            s3.create_bucket(Bucket="artifacts")
            with PackageContext(
                template_file=str(self.files / "template-arm64.yaml"), s3_bucket="artifacts", s3_prefix="", image_repository=None,
                image_repositories=None, kms_key_id=None, output_template_file=str(output), use_json=False, force_upload=False,
                no_progressbar=True, metadata=None, region="us-east-1", profile=None,
            ) as context, contextlib.redirect_stdout(io.StringIO()):
                context.run()
            uploaded = yaml_parse(output.read_text(encoding="utf-8"))["Resources"]
            for name, function in FUNCTIONS.items():
                bucket, key = uploaded[name]["Properties"]["CodeUri"].removeprefix("s3://").split("/")
                body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                self.assertEqual(body, (self.files / f"lockstep-{function}-arm64.zip").read_bytes())


if __name__ == "__main__":
    unittest.main()
