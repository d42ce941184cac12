"""The pages of the examples name every file, and links lead somewhere. cdk_test.py and terraform_test.py test what they deploy."""

import re
import unittest

from template import ROOT

PAGES = {"docs/terraform.md": "examples/terraform", "docs/cdk.md": "examples/cdk"}
# Files that people write. npm and Terraform put others beside them.
WRITTEN, LOCK = {".tf", ".ts", ".json", ".md"}, "package-lock.json"
# Directories that npm, TypeScript, the CDK and Terraform make.
MADE = {"node_modules", "dist", "cdk.out", "functions", ".terraform"}
WRITTEN_PAGES = [*ROOT.glob("*.md"), *(it for part in ("docs", "events", "examples", "release", "shared") for it in (ROOT / part).rglob("*.md"))]
LINKING_PAGES = [it for it in WRITTEN_PAGES if "node_modules" not in it.parts]
REQUIREMENTS = ROOT / ".ci/requirements.txt"


def anchors(page):
    """The anchors of a page: its own, and those that GitHub and similar hosts make of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?s)^```.*?^```$", "", page, flags=re.MULTILINE))
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="(.*?)">', page))


class Pages(unittest.TestCase):
    def test_a_page_names_every_file_of_its_example_and_no_other(self):
        for page, directory in PAGES.items():
            text = (ROOT / page).read_text(encoding="utf-8")
            named = re.findall(rf"\]\(\.\./({directory}/[^)#]+)\)", text)
            files = [str(it.relative_to(ROOT)) for it in (ROOT / directory).rglob("*")
                     if it.suffix in WRITTEN and it.name != LOCK and not MADE & set(it.relative_to(ROOT).parts)]
            self.assertEqual(sorted(named), sorted(files), page)

    def test_pages_build_for_a_named_processor_with_the_tools_that_are_tested(self):
        pinned = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", REQUIREMENTS.read_text(encoding="utf-8")))
        for page in PAGES:
            text = (ROOT / page).read_text(encoding="utf-8")
            builds = re.findall(r"(?m)^cargo lambda build .*$", text)
            self.assertEqual([re.findall(r"--(x86-64|arm64)\b", it) for it in builds], [["x86-64"], ["arm64"]], page)
            installed = dict(re.findall(r"([\w-]+)==([\d.]+)", re.search(r"(?m)^pip install (.*)$", text)[1]))
            self.assertEqual(installed, {it: pinned[it] for it in ("cargo-lambda", "ziglang")}, page)

    def test_links_of_every_page_lead_somewhere(self):
        links = 0
        for page in LINKING_PAGES:
            for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
                if "://" in link:
                    continue
                links += 1
                file, _, anchor = link.partition("#")
                target = (page.parent / file).resolve() if file else page
                with self.subTest(page=page, link=link):
                    self.assertTrue(target.exists())
                    if anchor:
                        self.assertIn(anchor, anchors(target.read_text(encoding="utf-8")))
        self.assertGreater(links, 300)


if __name__ == "__main__":
    unittest.main()
