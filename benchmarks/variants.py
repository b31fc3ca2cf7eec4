"""How much hangs on what a recording happens to be: the same recording changed, and everything run again.

    python benchmarks/variants.py [RECORDING] [--only NAME] [--json FILE]

`renamed` gives every identity, namespace, node and address that is not Kubernetes' own a random name: whatever depended on a name of the
recording would be lost. The others take away what made attacks easy to tell, or the past. All figures are in-sample on the development
recording: they show what the results hang on, not how good they are elsewhere.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parent.parent))

from audit_lab.evaluate import Evaluation, evaluate
from audit_lab.lab import Lab
from audit_lab.profile import Profile
from audit_lab.profile_files import load_profile
from audit_lab.signals import rank_cases
from audit_lab.signals.outliers import OUTLIERS

ROOT = Path(__file__).parent.parent
TRUSTED = ("new-access", "new-deed")
# What Kubernetes itself calls so; the words of audit records and of resources must not be taken for names either.
_OWN = re.compile(r"^(system:.*|kube-.*|default|kubernetes.*|masters|nodes|bootstrappers.*)$")
_SHORTEST = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", nargs="?", default=ROOT / "data", type=Path)
    parser.add_argument("--only", action="append", choices=sorted(VARIANTS), help="this variant (may be repeated)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    labels = next(path for path in (options.recording / "labels.jsonl", options.recording / "incidents.jsonl") if path.is_file())
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = _made(options.recording, Path(scratch) / "base")
        for name in options.only or VARIANTS:
            lab = VARIANTS[name](options.recording, base, Path(scratch) / name.replace(" ", "-"))
            figures[name] = measure(lab, labels)
            print(f"\n{name}\n{table(figures[name])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def profile() -> Profile:
    """Return the sample's settings with every detector on."""
    chosen = load_profile("sample")
    return chosen.model_copy(update={"signals": chosen.signals.model_copy(update={"detectors": list(OUTLIERS)})})


def measure(lab: Lab, labels: Path) -> dict[str, dict]:
    """Return, for each combination of detectors, incidents found at each share, average precision, and what is flagged at the threshold."""
    lab.label(labels)
    read = lab.store.read
    sessions, signals, stories = read("sessions"), read("signals"), read("stories")
    rules = signals.filter(pl.col("kind") != "outlier")

    def some(*names: str) -> pl.DataFrame:
        return signals.filter(pl.col("detector_id").is_in(list(names)))

    settings = lab.profile.signals
    default = type(settings)().detectors
    sets = {
        "outliers: default": ("outliers", some(*default)), "outliers: trusted two": ("outliers", some(*TRUSTED)),
        **{f"outliers: two and {name}": ("outliers", some(*TRUSTED, name)) for name in OUTLIERS if name not in TRUSTED},
        "outliers: all": ("outliers", some(*OUTLIERS)),
        "rules": ("rules", rules), "fused: default": ("fused", pl.concat([rules, some(*default)])),
        "fused: trusted two": ("fused", pl.concat([rules, some(*TRUSTED)])), "fused: all": ("fused", signals),
    }
    scores = [
        rank_cases(sessions, part, settings, stories).scores.filter(pl.col("detector_id") == scorer).with_columns(detector_id=pl.lit(name))
        for name, (scorer, part) in sets.items()
    ]
    alone = rank_cases(sessions, signals, settings, stories).scores.filter(pl.col("detector_id").is_in(list(OUTLIERS)))
    result = _evaluated(lab, pl.concat([*scores, alone]))
    flat = result.as_dict()
    return {
        name: {
            "found": [point["found"] for point in flat["curve"][name]], "of": flat["curve"][name][0]["n"],
            "average_precision": result.blocks[name].average_precision.value,
            "flagged": result.blocks[name].sessions.as_dict()["fp"] if name != "all" else flat["sessions"]["fp"],
            "n": flat["sessions"]["n"],
        }
        for name in flat["curve"] if flat["curve"][name][0]["found"] is not None and name not in ("judge",)
    }


def _evaluated(lab: Lab, scores: pl.DataFrame) -> Evaluation:
    read = lab.store.read
    own = read("scores").filter(pl.col("detector_id").is_in(["fused", "floors"]))
    return evaluate(
        read("sessions"), read("session_events"), read("events").select("event_id", "time"), read("incidents"), lab.standing_labels(),
        pl.concat([own, scores]), read("candidates"), read("verdicts"), lab.profile.evaluate,
    )


def table(figures: dict[str, dict]) -> str:
    """Return the figures as a Markdown table."""
    first = next(iter(figures.values()))
    head = f"| scorer (of {first['of']} incidents, {first['n']} sessions) | 1 % | 2 % | 5 % | 10 % | 20 % "
    lines = [head + "| average precision | false alarms at 0.5 |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {name} | " + " | ".join(map(str, row["found"])) + f" | {row['average_precision']:.3f} | {row['flagged']} |"
              for name, row in figures.items()]
    return "\n".join(lines)


# ---- the variants --------------------------------------------------------------------------------------------


def _made(recording: Path, folder: Path) -> Lab:
    lab = Lab(folder, profile())
    lab.ingest(recording)
    lab.run()
    return lab


def _changed(base: Lab, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Lab:
    shutil.copytree(base.store.root, folder)
    lab = Lab(folder, profile())
    with lab.store.writing():
        lab.store.replace("events", change(lab.store.read("events")), "variant")
    lab.run()
    return lab


def _recorded(_recording: Path, base: Lab, _folder: Path) -> Lab:
    return base


def _same_source(_recording: Path, base: Lab, folder: Path) -> Lab:
    return _changed(base, folder, lambda events: events.with_columns(source_ip=pl.lit("10.0.0.1"), source_class=pl.lit("private")))


def _same_client(_recording: Path, base: Lab, folder: Path) -> Lab:
    return _changed(base, folder, lambda events: events.with_columns(
        source_ip=pl.lit("10.0.0.1"), source_class=pl.lit("private"), client_family=pl.lit("kubectl"), user_agent=pl.lit("kubectl")))


def _second_half(_recording: Path, base: Lab, folder: Path) -> Lab:
    return _changed(base, folder, lambda events: events.filter(pl.col("time") >= pl.col("time").quantile(0.5)))


def _renamed(recording: Path, _base: Lab, folder: Path) -> Lab:
    source = folder.with_name(folder.name + "-archives")
    source.mkdir(parents=True)
    rename(recording, source)
    return _made(source, folder)


VARIANTS: dict[str, Callable[[Path, Lab, Path], Lab]] = {
    "as recorded": _recorded, "renamed": _renamed, "every source the same": _same_source,
    "every source and client the same": _same_client, "second half, cold start": _second_half,
}


# ---- other names ---------------------------------------------------------------------------------------------


def rename(recording: Path, target: Path, seed: int = 7) -> dict[str, str]:
    """Write a recording's archives again with other names; return what became of each name.

    Renamed are people, service accounts, namespaces, nodes and addresses (a network of 256 addresses stays one). Names that Kubernetes
    brings along stay, and so do words that are also keys or resources of audit records.
    """
    archives = sorted(recording.glob("audit*.log*"))
    names, addresses, words = _names(line for path in archives for line in _lines(path))
    draw = random.Random(seed)
    taken: dict[str, str] = {name: _word(draw) for name in sorted(names - words)}
    nets = {address.rsplit(".", 1)[0] for address in addresses}
    numbers = draw.sample(range(256), len({net.rsplit(".", 1)[1] for net in nets}))
    third = dict(zip(sorted({net.rsplit(".", 1)[1] for net in nets}), numbers, strict=True))
    for address in sorted(addresses):
        first, second, net, last = address.split(".")
        taken[address] = f"{first}.{second}.{third[net]}.{last}"
    pattern = re.compile(r"(?<![\w.-])(" + "|".join(map(re.escape, sorted(taken, key=len, reverse=True))) + r")(?![\w-]|\.\w)")
    for path in archives:
        with gzip.open(target / (path.name.removesuffix(".gz") + ".gz"), "wt", encoding="utf-8", compresslevel=1) as out:
            out.writelines(pattern.sub(lambda match: taken[match[1]], line) for line in _lines(path))
    return taken


def _names(lines: Iterable[str]) -> tuple[set[str], set[str], set[str]]:
    """Return names of people, accounts, namespaces and nodes; addresses; and the words of the records themselves."""
    names: set[str] = set()
    addresses: set[str] = set()
    words: set[str] = set()
    for line in lines:
        record = json.loads(line)
        words |= set(_keys(record))
        reference = record.get("objectRef") or {}
        words |= {reference.get(key, "") for key in ("resource", "subresource", "apiGroup", "apiVersion")}
        names.add(reference.get("namespace", ""))
        for who in (record.get("user"), record.get("impersonatedUser")):
            for text in [(who or {}).get("username", ""), *((who or {}).get("groups") or [])]:
                part = text.removeprefix("system:serviceaccount:").removeprefix("system:serviceaccounts:").removeprefix("system:node:")
                # Whoever lives in a namespace of Kubernetes' own is its own: controllers are known by these names.
                if not part.startswith("kube-") and (part != text or not text.startswith("system:")):
                    names |= set(part.split(":"))
        addresses |= set(record.get("sourceIPs") or [])
    kept = {name for name in names if len(name) >= _SHORTEST and not _OWN.match(name)}
    return kept, {address for address in addresses if re.fullmatch(r"(\d+\.){3}\d+", address) and address != "127.0.0.1"}, words


def _keys(value: Any) -> Iterator[str]:
    """Every key of a record, at any depth."""
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from _keys(part)


def _lines(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as handle:
        yield from handle


def _word(draw: random.Random) -> str:
    return draw.choice("bcdfghjklmnpqrstvwxz") + "".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(8))


if __name__ == "__main__":
    main()
