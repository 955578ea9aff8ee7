"""Writes the generated parts of the docs; `--check` only reports stale pages."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kaixu.cli import app
from kaixu.cli.lazy import COMMANDS
from kaixu.config import document, sections
from kaixu.config.alerts_section import AlertsSection, AlertWebhookSection
from kaixu.config.database import DatabaseSection
from kaixu.config.environment import Settings
from kaixu.config.gateway_section import BlobsSection, GatewaySection, JobsSection, MonitorSection
from kaixu.config.invoices_section import InvoicesSection, SecondCurrencySection, SellerSection, TaxRuleSection
from kaixu.config.mail_section import MailSection
from kaixu.config.operators_section import OidcSection, OperatorsSection
from kaixu.config.plans_section import PlanSection
from kaixu.config.platforms_section import PlatformsSection, SurfaceSection
from kaixu.config.selfservice_section import SelfserviceSection
from kaixu.config.station_section import BrainSection, ProductSection, ProductsSection, StationSection
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.openai_errors import openai_error
from kaixu.plugin import errors
from kaixu.plugin.errors import KaixuError

HERE = Path(__file__).parent
#: Code that raises errors for clients.
CODE = (HERE.parent / "kaixu", HERE.parent / "plugins")
SECTIONS = (
    ("The whole file", document.Document),
    ("`gateway:`", GatewaySection),
    ("`gateway.database:`", DatabaseSection),
    ("`gateway.jobs:`", JobsSection),
    ("`gateway.monitor:`", MonitorSection),
    ("`gateway.blobs:`", BlobsSection),
    ("`operators:`", OperatorsSection),
    ("`operators.oidc:`", OidcSection),
    ("A lane: `lanes: NAME:`", sections.LaneSection),
    ("Its time limits: `timeouts:`", sections.TimeoutSection),
    ("What it skips when it fails: `breaker:`", sections.BreakerSection),
    ("A model: `models: NAME:`", sections.ModelSection),
    ("A deployment of a model: `deployments:`", sections.DeploymentSection),
    ("Its cache: `cache:`", sections.CacheSection),
    ("`price:` and `cost:`", sections.PriceSection),
    ("`alerts:`", AlertsSection),
    ("A webhook for alerts: `alerts.webhooks: NAME:`", AlertWebhookSection),
    ("`mail:`", MailSection),
    ("`selfservice:`", SelfserviceSection),
    ("`invoices:`", InvoicesSection),
    ("`invoices.seller:`", SellerSection),
    ("A rule for tax: `invoices.tax:`", TaxRuleSection),
    ("`invoices.second_currency:`", SecondCurrencySection),
    ("An integration: `integrations: NAME:`", sections.IntegrationSection),
    ("`platforms:`", PlatformsSection),
    ("A surface: `platforms: surfaces: NAME:`", SurfaceSection),
    ("`station:`", StationSection),
    ("`station: products:`", ProductsSection),
    ("A product: `station: products: NAME:`", ProductSection),
    ("`station: brain:`", BrainSection),
    ("A plan: `plans: NAME:`", PlanSection),
)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows])


def default_of(field: FieldInfo) -> str:
    """A default value as text."""
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "–"
    if isinstance(value, BaseModel) or value in ([], {}, ""):
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def fields_of(model: type[BaseModel]) -> str:
    """The fields of a section."""
    return table(
        ["field", "default", "what it is"],
        [
            [f"`{field.alias or name}`", default_of(field), field.description or ""]
            for name, field in model.model_fields.items()
        ],
    )


def configuration() -> str:
    """kaixu.yaml, section by section."""
    return "\n\n".join(f"### {title}\n\n{fields_of(model)}" for title, model in SECTIONS)


def environment() -> str:
    """The environment variables: the gateway's, then those of parts of it."""
    fields = sorted(Settings.model_fields.items(), key=lambda one: one[0] not in Settings.__annotations__)
    return table(
        ["variable", "default", "what it is"],
        [[f"`{name.upper()}`", default_of(field), field.description or ""] for name, field in fields],
    )


def codes_of_classes() -> Iterator[tuple[str, int]]:
    """The codes of the error tree, each with its status."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, KaixuError):
            yield kind.code, kind.status


def codes_of_calls() -> Iterator[tuple[str, int]]:
    """The codes that are passed where an error is raised, with the status of its class."""
    for path in sorted(path for folder in CODE for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                kind = getattr(errors, name, None)
                if isinstance(kind, type) and issubclass(kind, KaixuError):
                    for keyword in node.keywords:
                        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                            yield str(keyword.value.value), kind.status


def error_texts() -> dict[str, dict[str, str]]:
    """The meaning of each code and what to do, from errors.yaml."""
    texts: dict[str, dict[str, str]] = yaml.safe_load((HERE / "errors.yaml").read_text(encoding="utf-8"))
    return texts


def error_codes() -> str:
    """All error codes, with their types in OpenAI's and Anthropic's shapes."""
    texts, rows = error_texts(), []
    for code, status in sorted({*codes_of_classes(), *codes_of_calls()}, key=lambda one: (one[1], one[0])):
        text = texts.get(code, {"means": "", "do": ""})
        envelope = {"error": "", "code": code}
        openai_body, _ = openai_error(envelope, status)
        anthropic_body, sdk_status = anthropic_error(envelope, status)
        shown = str(status) if status == sdk_status else f"{status}, {sdk_status} under `/v1`"
        kinds = [f"`{openai_body['error']['type']}`", f"`{anthropic_body['error']['type']}`"]
        rows.append([shown, f"`{code}`", text["means"], text["do"], *kinds])
    return table(["status", "code", "meaning", "what to do", "OpenAI's `type`", "Anthropic's `type`"], rows)


def command_list() -> str:
    """Every command with its first line of help."""
    rows: list[list[str]] = []

    def walk(command: Any, words: str) -> None:
        inner = getattr(command, "commands", {})
        for name in sorted(inner):
            walk(inner[name], f"{words} {name}")
        if not inner:
            rows.append([f"`{words}`", (command.help or "").strip().splitlines()[0]])

    group: Any = typer.main.get_group(app)
    for name in COMMANDS:
        walk(group.get_command(None, name), f"kaixu {name}")
    return table(["command", "what it does"], rows)


PARTS = {
    "configuration": configuration,
    "environment": environment,
    "errors": error_codes,
    "commands": command_list,
}
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def with_fresh_parts(text: str) -> str:
    """A page with its generated parts written again."""
    return PART.sub(lambda part: f"{part[1]}\n{PARTS[part[2]]()}\n\n{part[3]}", text)


def main() -> int:
    """Write the pages, or check them."""
    stale = []
    for page in sorted(HERE.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if with_fresh_parts(text) != text:
            stale.append(page.relative_to(HERE.parent))
            if "--check" not in sys.argv:
                page.write_text(with_fresh_parts(text), encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(map(str, stale))}; run `python docs/generate.py`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
