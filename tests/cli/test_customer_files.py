"""`kaixu customers import`, `export` and `delete`, `kaixu plans` and `kaixu codes`, as scripts run them."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from .conftest import CONFIG, Piped

FILE = "email,plan_name,monthly_cap_cents\nada@example.com,starter,500\nbob@example.com,pro,\nnobody,,\n"


def answer(piped: Piped, *words: str) -> Any:
    """What a command printed as JSON."""
    done = piped(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_import_says_what_became_of_each_line_and_writes_keys_once(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(FILE)
    dry = piped("customers", "import", "customers.csv", "--dry-run", "--issue-keys", "keys.csv", "--json")
    assert (dry.returncode, json.loads(dry.stdout)["counts"]) == (1, {"created": 2, "refused": 1})
    assert not (tmp_path / "keys.csv").exists()
    assert answer(piped, "customers", "list") == []

    done = piped("customers", "import", "customers.csv", "--issue-keys", "keys.csv")
    assert done.returncode == 1
    assert "2 created, 1 refused; 2 keys issued" in done.stdout
    assert "`email` is not an email address" in done.stdout
    keys = tmp_path / "keys.csv"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    rows = list(csv.DictReader(keys.read_text().splitlines()))
    assert [row["email"] for row in rows] == ["ada@example.com", "bob@example.com"]
    assert all(row["key"].startswith("kx_live_") and row["key"] not in done.stdout for row in rows)

    again = piped("customers", "import", "customers.csv", "--issue-keys", "keys.csv")
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    assert list(csv.DictReader(keys.read_text().splitlines())) == rows
    more = piped("customers", "import", "customers.csv", "--issue-keys", "more.csv", "--json")
    assert json.loads(more.stdout)["counts"] == {"unchanged": 2, "refused": 1}
    assert not (tmp_path / "more.csv").exists()


def test_an_export_is_read_back(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(FILE)
    piped("customers", "import", "customers.csv")
    answer(piped, "customers", "change", "ada@example.com", "--alert-thresholds", "60,90", "--alert-mail", "yes")
    answer(piped, "customers", "change", "bob@example.com", "--alert-thresholds", "[]")
    assert piped("customers", "export", "all.csv").returncode == 0
    assert piped("customers", "export").stdout.encode() == (tmp_path / "all.csv").read_bytes()
    done = answer(piped, "customers", "import", "all.csv")
    assert done["counts"] == {"unchanged": 2}
    exported = answer(piped, "customers", "export")
    assert [(row["email"], row["integrations"]) for row in exported] == [
        ("ada@example.com", {}),
        ("bob@example.com", {}),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("email,plan\n", "no field `plan`; did you mean `plan_name`?"),
        ("", "no column `email`"),
    ],
    ids=["missing", "unknown column", "empty"],
)
def test_a_file_that_cannot_be_read_is_one_line_of_error(
    piped: Piped, tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "customers.csv").write_text(content)
    done = piped("customers", "import", "customers.csv")
    assert (done.returncode, words in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_a_customer_is_deleted_after_its_address_was_confirmed(piped: Piped) -> None:
    made = answer(piped, "customers", "create", "ada@example.com")
    answer(piped, "keys", "create", "ada@example.com")
    shown = answer(piped, "customers", "delete", "ada@example.com", "--dry-run")
    assert (shown["keys"], shown["unbilled_usd"]) == (1, "0.00")
    asked = piped("customers", "delete", "ada@example.com")  # nobody answers
    assert asked.returncode == 1
    assert len(answer(piped, "customers", "list")) == 1
    done = answer(piped, "customers", "delete", "ada@example.com", "--yes")
    assert done["finished_at"] is not None
    assert answer(piped, "customers", "list") == []
    assert answer(piped, "customers", "delete", str(made["id"]))["customer_id"] == made["id"]
    gone = piped("customers", "delete", "ada@example.com", "--yes")
    assert (gone.returncode, "there is no customer" in gone.stderr) == (1, True)


def test_codes_are_printed_once(piped: Piped) -> None:
    done = piped(
        "codes", "create", "--amount-cents", "500", "--expires", "2030-01-01", "--count", "3", "--note", "fair"
    )
    assert done.returncode == 0, done.stderr
    codes = done.stdout.split()
    assert len(codes) == 3
    shown = piped("codes", "show", "1").stdout
    assert all(code[-4:] in shown and code not in shown for code in codes)
    [batch] = answer(piped, "codes", "list")
    assert (batch["codes"], batch["created_by"]) == (3, "cli")
    assert answer(piped, "codes", "revoke", "--batch", "1") == {"revoked": 3}
    wrong = piped("codes", "create", "--amount-cents", "0", "--expires", "2030-01-01")
    assert (wrong.returncode, "1 or more" in wrong.stderr) == (1, True)
    assert "either a --batch or a --code" in piped("codes", "revoke").stderr


def test_plans_are_shown_with_their_versions_and_customers(piped: Piped, tmp_path: Path) -> None:
    assert answer(piped, "plans", "list") == []
    unknown = piped("plans", "show", "starter")
    assert (unknown.returncode, "no plan `starter`" in unknown.stderr) == (1, True)
    (tmp_path / "kaixu.yaml").write_text(CONFIG + "plans: {starter: {cap: 20, providers: [ecko], price_factor: 0.9}}\n")
    checked = piped("check", "--no-database")
    assert checked.returncode == 0
    assert "plan `starter` allows provider `ecko`, which is no lane; did you mean `echo`?" in checked.stderr
