"""Make the small data sets that ship with the jobs from the public copies they come from.

Usage: python jobs/make_job_data.py FOLDER   (FOLDER holds mnist/, http_params/, letter/,
ad_spambase/ and newsgroups20/, each with data.parquet). The result is the same each time: the
seeds are drawn from fixed generators.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_diabetes, load_iris

HERE = Path(__file__).parent / "data"
ROWS_PER_GROUP = 10_000
NEWSGROUPS = (
    "comp.graphics",
    "rec.autos",
    "rec.sport.hockey",
    "sci.med",
    "sci.space",
    "talk.politics.guns",
)
BODY_CHARACTERS = 400


def write(table: pa.Table, name: str) -> None:
    """Write a table with page checksums and row groups of `ROWS_PER_GROUP` rows."""
    pq.write_table(
        table,
        HERE / name,
        compression="zstd",
        compression_level=19,
        row_group_size=ROWS_PER_GROUP,
        write_page_checksum=True,
    )


def draw_per_class(labels: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Return sorted row numbers, `per_class` of each class, drawn without replacement."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.flatnonzero(labels == value), per_class, replace=False)
        for value in np.unique(labels)
    ]
    return np.sort(np.concatenate(rows))


def write_seeds(ids: np.ndarray, labels: np.ndarray, rows: np.ndarray, name: str) -> None:
    """Write the labels file of a job: one line a seed."""
    pd.DataFrame({"id": ids[rows], "label": labels[rows]}).to_csv(HERE / name, index=False)


def mnist(folder: Path) -> None:
    """Write 70,000 digits, pixels as uint8, and 50 seeds: 5 of each digit."""
    table = pq.read_table(folder / "mnist" / "data.parquet")
    pixels = table["features"].combine_chunks()
    values = pa.array(np.rint(pixels.flatten().to_numpy()).astype(np.uint8))
    digits = table["label"].to_numpy()
    ids = table["image_id"].to_numpy()
    out = pa.table(
        {
            "image_id": ids,
            "pixels": pa.FixedSizeListArray.from_arrays(values, 784),
            "digit": digits,
        }
    )
    write(out, "mnist.parquet")
    write_seeds(ids, digits, draw_per_class(digits, 5, seed=0), "mnist_seeds.csv")


def http_params(folder: Path) -> None:
    """Write 31,067 parameter values of web requests, their shape, and 100 seeds drawn at random."""
    table = pq.read_table(folder / "http_params" / "data.parquet")
    attack = table["label"].to_numpy()
    ids = table["row_id"].to_numpy()
    out = pa.table(
        {
            "row_id": ids,
            "payload": table["payload"],
            "length": table["length"],
            **shape_of(table["payload"].to_pylist()),
            "attack": attack,
        }
    )
    write(out, "http_params.parquet")
    rows = np.sort(np.random.default_rng(0).choice(len(ids), 100, replace=False))
    write_seeds(ids, attack, rows, "http_params_seeds.csv")


def shape_of(payloads: list[str]) -> dict[str, np.ndarray]:
    """Return numbers that see how a text is made, and not one of its words."""
    symbols = ["'\"`", "<>", "/\\", "()[]{}", "=&|", ";,.:", "%#-*+"]
    names = ["quotes", "angles", "slashes", "brackets", "operators", "stops", "marks"]
    columns = {
        "letters": [sum(c.isalpha() for c in text) for text in payloads],
        "digits": [sum(c.isdigit() for c in text) for text in payloads],
        "spaces": [sum(c.isspace() for c in text) for text in payloads],
        "distinct_characters": [len(set(text)) for text in payloads],
        "longest_word": [max(map(len, text.split()), default=0) for text in payloads],
    }
    for name, some in zip(names, symbols, strict=True):
        columns[name] = [sum(c in some for c in text) for text in payloads]
    return {name: np.array(values, dtype=np.int16) for name, values in columns.items()}


def letter(folder: Path) -> None:
    """Write 20,000 letters, 16 numbers each, and 260 seeds: 10 of each letter."""
    table = pq.read_table(folder / "letter" / "data.parquet")
    names = table["class_name"].to_numpy(zero_copy_only=False)
    ids = table["row_id"].to_numpy()
    columns = {f"x{j}": table[f"x{j}"] for j in range(16)}
    write(pa.table({"row_id": ids, **columns, "letter": names}), "letter.parquet")
    write_seeds(ids, names, draw_per_class(names, 10, seed=0), "letter_seeds.csv")


def spambase(folder: Path) -> None:
    """Write 4,207 e-mails as 57 numbers each, and 20 seeds: 10 spam and 10 not."""
    table = pq.read_table(folder / "ad_spambase" / "data.parquet")
    spam = table["label"].to_numpy()
    ids = table["row_id"].to_numpy()
    numbers = np.stack(table["features"].to_numpy(zero_copy_only=False)).astype(np.float32)
    columns = {f"x{j}": numbers[:, j] for j in range(numbers.shape[1])}
    write(pa.table({"row_id": ids, **columns, "spam": spam}), "spambase.parquet")
    write_seeds(ids, spam, draw_per_class(spam, 10, seed=0), "spambase_seeds.csv")


def newsgroups(folder: Path) -> None:
    """Write the posts of six newsgroups, and 60 seeds: 10 of each group.

    Bodies are cut after 400 characters, and taken away from every fourth post at random.
    """
    table = pq.read_table(folder / "newsgroups20" / "data.parquet")
    names = table["class_name"].to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(np.isin(names, NEWSGROUPS))
    gone = np.random.default_rng(1).random(len(chosen)) < 0.25
    posts = table.take(chosen)
    bodies = [text[:BODY_CHARACTERS] for text in posts["body"].to_pylist()]
    ids = np.arange(len(chosen))
    out = pa.table(
        {
            "post": ids,
            "subject": posts["subject"],
            "body": pa.array(bodies, mask=gone),
            "newsgroup": posts["class_name"],
        }
    )
    write(out, "newsgroups.parquet")
    groups = names[chosen]
    write_seeds(ids, groups, draw_per_class(groups, 10, seed=0), "newsgroups_seeds.csv")


def iris() -> None:
    """Write scikit-learn's iris and a column of seed labels: about one row in ten keeps its own."""
    data = load_iris()
    species = data.target_names[data.target].astype(object)
    hidden = np.random.RandomState(42).rand(len(species)) > 0.1
    columns = {
        name.removesuffix(" (cm)").replace(" ", "_"): data.data[:, j]
        for j, name in enumerate(data.feature_names)
    }
    seeds = np.where(hidden, None, species)
    flowers = np.arange(len(species))
    write(
        pa.table(
            {
                "flower": flowers,
                **columns,
                "species": species,
                "seed_species": pa.array(seeds, pa.string()),
            }
        ),
        "iris.parquet",
    )
    print("iris:", int((~hidden).sum()), "seeds")


def diabetes() -> None:
    """Write scikit-learn's diabetes in the units as measured; 100 patients keep their number."""
    data = load_diabetes(scaled=False)
    known = np.zeros(len(data.target), dtype=bool)
    known[np.random.default_rng(0).choice(len(known), 100, replace=False)] = True
    columns = {name: data.data[:, j] for j, name in enumerate(data.feature_names)}
    write(
        pa.table(
            {
                "patient": np.arange(len(known)),
                **columns,
                "progression": data.target,
                "known_progression": pa.array(data.target, mask=~known),
            }
        ),
        "diabetes.parquet",
    )


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    source = Path(sys.argv[1])
    mnist(source)
    http_params(source)
    letter(source)
    spambase(source)
    newsgroups(source)
    iris()
    diabetes()
