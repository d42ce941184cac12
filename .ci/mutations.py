"""Makes mistakes in the product on purpose, and checks that `cargo lab chaos` finds each of them.

    python .ci/mutations.py              all mutations
    python .ci/mutations.py NAME ...     these
    python .ci/mutations.py --list       their names

Each mutation is an edit of a source file. It is made in a copy of the tree, target/ci/mutations/tree, which has a target directory of
its own. `cargo lab chaos` is built there and run: it has to fail, and to name the violation that the mutation is known for. An edit
whose text is not in the file any more is an error: then the mutation has to be written anew.

Exit code 0: every mutation was found. 1: at least one was not. 2: an edit does not fit, or the copy does not compile."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "ci" / "mutations"


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A mistake, and how the machine of histories shows it."""

    name: str
    # Relative to the root of the repository.
    file: str
    # The text to replace. It is in the file exactly once.
    text: str
    by: str
    # Target, strategy, and after how many rotations the histories begin.
    target: str
    strategy: str
    before: int
    # The name of the violation that has to be found.
    violation: str


MUTATIONS = [
    Mutation(
        "leaves out the question under the lock",
        "shared/src/database/lock.rs",
        "match context.still_wanted().await {",
        "let _ = context;\n    match Ok(()) {",
        "postgres",
        "single-user",
        1,
        "current-refused",
    ),
    Mutation(
        "asks the labels before the lock",
        "shared/src/database/single.rs",
        "let locked = engine.lock(session, work, &evidence).await?;\n"
        "        let locked = wanted(engine, context, locked, [from, change.to]).await?;",
        "context.still_wanted().await?;\n        let locked = engine.lock(session, work, &evidence).await?;",
        "mysql",
        "dual-password",
        1,
        "current-refused",
    ),
    Mutation(
        "gives a clone its password without its privileges",
        "shared/src/database/alternating.rs",
        "engine.align(&mut locked, turn).await?;",
        "let _ = &mut locked;",
        "mysql",
        "alternating-users",
        0,
        "nothing-helps: target-refused",
    ),
    Mutation(
        "trusts an outdated read of AWSCURRENT",
        "shared/src/protocol/mod.rs",
        "if description.current_version() == Some(&current.id) {",
        "if !current.id.is_empty() {",
        "mysql",
        "alternating-users",
        1,
        "stuck: pending-mismatch",
    ),
    Mutation(
        "calls a version current without trying it",
        "shared/src/protocol/mod.rs",
        "Observation::Rejected => Err(error.recoded(Code::CurrentRejected)),",
        "Observation::Rejected => Ok(()),",
        "postgres",
        "single-user",
        0,
        "done-but-refused: already-current",
    ),
    Mutation(
        "discards the previous password without asking",
        "shared/src/database/retire.rs",
        "match logins.context.is_current(version).await {",
        "let _ = version;\n        match Ok(true) {",
        "mysql",
        "dual-password-discard",
        0,
        "current-refused",
    ),
    Mutation(
        "retries logins without limit",
        "shared/src/database/single.rs",
        "self.logins.context.refusals() >= self.most_refused",
        "self.most_refused == usize::MAX",
        "mysql",
        "dual-password",
        2,
        "logins-used-up: one step",
    ),
    Mutation(
        "forgets the journal of keys",
        "functions/api-key/src/target/mint.rs",
        "let candidates = keys.sort_listed(&mut journal, &ended).await;",
        "let candidates = keys.sort_listed(&mut journal, &ended).await;\n    journal.retire.clear();",
        "issuer",
        "create-revoke",
        0,
        "orphan",
    ),
    Mutation(
        "takes the first key for a stranger's",
        "functions/api-key/src/target/mint.rs",
        "verdict.outage().cloned().map_or(Ok(verdict == Verdict::Works), Err)",
        "Ok(verdict == Verdict::Works)",
        "issuer",
        "create-revoke",
        0,
        "orphan",
    ),
    Mutation(
        "does not ask before it revokes a key",
        "functions/api-key/src/target/mod.rs",
        "if !current? {",
        "if current.is_err() {",
        "issuer",
        "create-revoke-now",
        0,
        "current-refused",
    ),
    Mutation(
        "does not ask after the last request to an issuer",
        "functions/api-key/src/target/mod.rs",
        "if let Err(error) = context.still_wanted().await {",
        "if let Err(error) = Ok::<(), Error>(()) {",
        "issuer",
        "set-value",
        1,
        "late-value",
    ),
    Mutation(
        "takes a key away before its time",
        "functions/signing-key/src/published/growth.rs",
        "let public: Vec<_> = signers.chain(still_public(secret, now, dates).into_iter().map(|one| one.kid)).collect();",
        "let _ = dates;\n        let public: Vec<_> = signers.collect();",
        "signing-key",
        "s3-object",
        1,
        "living-key-gone",
    ),
    Mutation(
        "lets a key sign at once",
        "functions/signing-key/src/plan.rs",
        "if from <= now {",
        "if from <= now || max_cache > 0 {",
        "signing-key",
        "s3-object",
        1,
        "signs-too-soon",
    ),
    Mutation(
        "removes TXT values by their name",
        "functions/tls/src/dns/plan.rs",
        "Wish::Absent => after.retain(|there| *there != value),",
        "Wish::Absent => after.clear(),",
        "tls",
        "certificate",
        1,
        "stranger-touched",
    ),
    Mutation(
        "leaves its TXT values",
        "functions/tls/src/target/issue.rs",
        "match self.route53.change(&added.records, Wish::Absent, &owner, deadline).await {",
        "match self.route53.change(&added.records, Wish::Present, &owner, deadline).await {",
        "tls",
        "certificate",
        1,
        "txt-left",
    ),
]


def edited(text: str, mutation: Mutation) -> str:
    """The file's text with the mistake."""
    found = text.count(mutation.text)
    if found != 1:
        raise LookupError(
            f"{mutation.name}: the text of this mutation is {found} times in {mutation.file}, and has to be there once. "
            "Write the mutation anew in .ci/mutations.py:\n" + mutation.text
        )
    return text.replace(mutation.text, mutation.by)


def copied(root: pathlib.Path, tree: pathlib.Path) -> None:
    """Makes the copy of the tree like the tree. A file that is the same keeps its date, so that cargo compiles no more than it has to."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=root, check=True, capture_output=True
    )
    files = {name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file()}
    for name in files:
        source, copy = root / name, tree / name
        if copy.is_file() and copy.read_bytes() == source.read_bytes():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        shutil.copymode(source, copy)
    for copy in tree.rglob("*"):
        if copy.is_file() and str(copy.relative_to(tree)) not in files:
            copy.unlink()


def build() -> pathlib.Path:
    """Builds the copy's `lab`."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(PLACE / "target"), "CARGO_INCREMENTAL": "0"}
    # As `cargo lab` does.
    command = ["cargo", "build", "--quiet", "--locked", "--package", "lab", "--bin", "lab", "--features", "lab/as-in-tests"]
    # A mistake may leave something unused.
    done = subprocess.run(command, cwd=PLACE / "tree", env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise RuntimeError("the copy does not compile")
    return PLACE / "target" / "debug" / "lab"


def violations(lab: pathlib.Path, mutation: Mutation) -> tuple[int, dict[str, str]]:
    """The exit code of the machine, and the violations that it has found, each with its shortest history."""
    case = ["--target", mutation.target, "--strategy", mutation.strategy, "--before", str(mutation.before)]
    done = subprocess.run([lab, "chaos", "--json", *case], capture_output=True, text=True)
    found = json.loads(done.stdout)["violations"] if done.stdout else []
    return done.returncode, {violation["kind"]: violation["shortest"] for violation in found}


def tried(mutation: Mutation) -> bool:
    """Makes the mistake, and undoes it. Returns whether it was found."""
    place, since = PLACE / "tree" / mutation.file, time.monotonic()
    right = place.read_text()
    place.write_text(edited(right, mutation))
    try:
        code, found = violations(build(), mutation)
    finally:
        place.write_text(right)
    caught = code == 1 and mutation.violation in found
    took = f"{time.monotonic() - since:.0f} s"
    if caught:
        print(f"found      {mutation.name}: {mutation.violation} ({found[mutation.violation]}), {took}", flush=True)
    else:
        print(f"NOT FOUND  {mutation.name}: exit code {code}, {found}, and not {mutation.violation}, {took}", flush=True)
    return caught


def main(arguments: list[str]) -> int:
    names = [mutation.name for mutation in MUTATIONS]
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    if arguments == ["--list"]:
        print("\n".join(names))
        return 0
    unknown = [argument for argument in arguments if argument not in names]
    if unknown:
        print(f"there is no mutation {unknown[0]!r}; --list lists them", file=sys.stderr)
        return 2
    chosen = [mutation for mutation in MUTATIONS if not arguments or mutation.name in arguments]
    try:
        for mutation in chosen:
            edited((ROOT / mutation.file).read_text(), mutation)
        copied(ROOT, PLACE / "tree")
        caught = [tried(mutation) for mutation in chosen]
    except (LookupError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{sum(caught)} of {len(caught)} mistakes were found")
    return 0 if all(caught) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
