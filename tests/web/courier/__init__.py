"""An integration whose panels have every kind of part, and do what panels should not do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from markupsafe import Markup

from kaixu.plugin import (
    Bytes,
    Call,
    Failure,
    Free,
    Integration,
    Key,
    Operation,
    Operator,
    Panel,
    PanelView,
    Path,
    PerUnit,
    Query,
    Redirect,
    RegisterIntegration,
    Secret,
    Text,
    Unprocessable,
    hookimpl,
    panels,
)

FREE = Free("a test")
SENT = datetime(2026, 11, 3, 12, 30, tzinfo=UTC)
ATTACK = Markup('"><img src=x onerror="pwned(1)"><script>pwned(2)</script>')


class Parcel(msgspec.Struct):
    name: str
    bytes: int = 0
    is_fragile: bool = False
    tags: list[str] = []


class Named(msgspec.Struct):
    parcel_id: Annotated[int, Path()]
    name: str | None = None


class CourierCustomer(msgspec.Struct):
    cap_cents: Annotated[int, msgspec.Meta(ge=0, title="Monthly cap", description="In cents.")] = 5000
    depot: Literal["north", "south"] = "north"
    is_insured: bool = False
    towns: list[str] = []
    contact: str | None = None
    limit: int | None = None
    hours: dict[str, int] = {}


class Nothing(msgspec.Struct):
    pass


class Done(msgspec.Struct):
    ok: bool = True


async def add(call: Call[Parcel]) -> Done:
    if call.body.name == "refused":
        raise Unprocessable("this name is taken", hint="Use another one.", field="name")
    if call.body.name == "away":
        raise Failure(409, "AWAY", "the courier is away")
    async with call.db() as db:
        await db.execute(
            "insert into parcel (customer_id, name, bytes, state) values ($1, $2, $3, $4)",
            call.customer_id,
            ", ".join([call.body.name, *call.body.tags]),
            call.body.bytes,
            "fragile" if call.body.is_fragile else "waiting",
        )
    return Done()


async def rename(call: Call[Named]) -> Done:
    async with call.db() as db:
        await db.execute(
            "update parcel set name = $1 where id = $2 and customer_id = $3",
            call.body.name,
            call.body.parcel_id,
            call.customer_id,
        )
    return Done()


async def drop(call: Call[Named]) -> Done:
    async with call.db() as db:
        await db.execute("delete from parcel where id = $1 and customer_id = $2", call.body.parcel_id, call.customer_id)
    return Done()


async def greet(call: Call[Nothing]) -> Text:
    return Text(f"Hello {call.caller.kind}, you are {call.caller.role}.")


class Scan(msgspec.Struct):
    name: Annotated[str, Path(), msgspec.Meta(max_length=60)]
    note: Annotated[str, Query()] = ""
    pages: Annotated[int, Query()] = 1
    tags: Annotated[list[str], Query()] = []


async def scan(call: Call[Scan]) -> Done:
    """Note what the file is, and keep it."""
    if call.body.note == "refused":
        raise Unprocessable("this note is not allowed", field="note")
    blob = await call.upload.store(most_bytes=40 * 2**20)
    async with call.db() as db:
        await db.keep(blob, f"scans/{call.body.name}", for_s=3600)
        await db.execute(
            "insert into scan (customer_id, name, note, pages, bytes, digest, role) values ($1, $2, $3, $4, $5, $6, $7)",
            call.customer_id,
            call.body.name,
            call.body.note,
            call.body.pages,
            blob.size,
            blob.digest,
            call.caller.role,
        )
    return Done()


async def measure(call: Call[Nothing]) -> Text:
    blob = await call.upload.store(most_bytes=1000)
    return Text(f"The file has {blob.size} bytes.")


async def copy(call: Call[Nothing]) -> Bytes:
    blob = await call.upload.store(most_bytes=1000)
    return Bytes(b"".join([piece async for piece in call.chunks(blob)]), "application/pdf", "copy.pdf")


async def files(view: PanelView) -> list[panels.Part]:
    """Forms with files."""
    who = "admin" if view.caller.kind == "operator" else "own"
    fields = [
        panels.Field("note", "Note"),
        panels.Field("pages", "Pages", "number", 1),
    ]
    parts: list[panels.Part] = [
        panels.File(
            f"courier.{who}-scan",
            fields,
            label="Scan",
            submit="Send the scan",
            file_name="name",
            accept=".txt,.bin",
            most_bytes=50 * 2**20,
            hint="A scan of a label.",
        )
    ]
    if who == "own":
        parts += [
            panels.File("courier.own-measure", label="Measured file", submit="Measure"),
            panels.File("courier.own-copy", label="Copied file", submit="Copy"),
            panels.File("courier.own-owner", label="Owner's file", submit="Send as the owner"),
            panels.Table(
                ["Name"],
                [
                    panels.Row(
                        ["a row"],
                        [
                            panels.Action(
                                "Replace",
                                "courier.own-scan",
                                {"note": "from a row"},
                                form=panels.File("courier.own-scan", label="New file", file_name="name"),
                            )
                        ],
                    )
                ],
            ),
        ]
    return parts


async def no_upload(view: PanelView) -> list[panels.Part]:
    return [panels.File("courier.admin-add")]


async def no_file(view: PanelView) -> list[panels.Part]:
    return [panels.Form("courier.admin-scan", [panels.Field("name", "Name")])]


async def connect(call: Call[Nothing]) -> Redirect:
    return Redirect("https://courier.example/authorize?state=1")


async def label(call: Call[Nothing]) -> Bytes:
    return Bytes(b"label", "application/pdf", "label.pdf")


async def everything(view: PanelView) -> list[panels.Part]:
    """One of each part."""
    async with view.db() as db:
        rows = await db.fetch(
            "select id, name, state, bytes from parcel where customer_id = $1 and name ilike '%' || $2 || '%'"
            " order by id",
            view.customer_id,
            view.filters["name"],
        )
    who = "admin" if view.caller.kind == "operator" else "own"
    return [
        panels.Notice("info", "The courier is connected.", "It sends parcels."),
        panels.Stat("Parcels", len(rows), note="of this customer"),
        panels.Stat("Postage", panels.Money(1_234_500_000), state="good"),
        panels.Stat("Sent", panels.Bytes(12_345_678)),
        panels.Progress("Under way", 3, 10, "3 of 10 stops"),
        panels.Chart("Parcels a day", ["Monday", "Tuesday"], [panels.Series("sent", [2, 5])]),
        panels.Table(
            [
                "Parcel",
                panels.Column("Size", "right"),
                "State",
                "Sent",
                "Code",
                panels.Column("Track", on_phones=False),
            ],
            [
                panels.Row(
                    [
                        row["name"],
                        panels.Bytes(row["bytes"]),
                        panels.Badge("warn", row["state"]),
                        panels.Time(SENT),
                        panels.Code(f"P-{row['id']}"),
                        panels.Link("courier.example", f"https://courier.example/{row['id']}"),
                    ],
                    [
                        panels.Action(
                            "Rename",
                            f"courier.{who}-rename",
                            {"parcel_id": row["id"]},
                            form=panels.Form(
                                f"courier.{who}-rename",
                                [panels.Field("name", "New name", value=row["name"], required=True)],
                                "Rename",
                            ),
                        ),
                        panels.Action(
                            "Drop",
                            f"courier.{who}-drop",
                            {"parcel_id": row["id"]},
                            confirm=f"{row['name']} is thrown away.",
                            is_danger=True,
                        ),
                    ],
                )
                for row in rows
            ],
            "Parcels",
            empty="No parcels yet.",
        ),
        panels.Form(
            f"courier.{who}-add",
            [
                panels.Field("name", "Name", required=True, hint="What is on the label."),
                panels.Field("bytes", "Size", "number", 7, unit="bytes"),
                panels.Field("is_fragile", "Fragile", "checkbox"),
                panels.Field("tags", "Tags", "list", hint="One on each line."),
            ],
            "Send a parcel",
        ),
        panels.Action("Greet", f"courier.{who}-greet"),
    ]


async def ways(view: PanelView) -> list[panels.Part]:
    return [panels.Action("Connect", "courier.own-connect"), panels.Action("Print a label", "courier.own-label")]


async def about(view: PanelView) -> list[panels.Part]:
    return [panels.Stat("Customer", "none" if view.customer_id is None else f"number {view.customer_id}")]


async def hostile(view: PanelView) -> list[panels.Part]:
    """HTML, other schemes, and much of everything."""
    return [
        panels.Notice("bad", ATTACK, ATTACK),
        panels.Stat(ATTACK, ATTACK),
        panels.Table(
            [ATTACK, "Link", "Long"],
            [
                [ATTACK, panels.Link("press me", "javascript:pwned(3)"), "A" * 100_000],
                ["{{ 7 * 7 }}{% raw %}", panels.Link(ATTACK, "http://evil.example/"), "\u202egpj\x00"],
                ["x", panels.Link("y", 'https://evil.example/"onmouseover="pwned(4)'), None],
                *([f"row {at}", None, at] for at in range(5000)),
            ],
            ATTACK,
        ),
        panels.Form(
            "courier.add", [panels.Field('"><script>', ATTACK, value=ATTACK, hint=ATTACK)], ATTACK, hint=ATTACK
        ),
    ]


async def writes(view: PanelView) -> list[panels.Part]:
    async with view.db() as db:
        await db.execute("insert into parcel (customer_id, name) values (1, 'written')")  # type: ignore[attr-defined]
    return []


async def writes_in_a_query(view: PanelView) -> list[panels.Part]:
    async with view.db() as db:
        await db.fetch("insert into parcel (customer_id, name) values (1, 'written') returning id")
    return []


async def never_ends(view: PanelView) -> list[panels.Part]:
    await asyncio.sleep(3600)
    return []


async def wrong(view: PanelView) -> list[panels.Part]:
    return [panels.Table(["one", "two"], [["only one"]])]


async def mixed_up(view: PanelView) -> list[panels.Part]:
    return [panels.Action("Drop", "courier.own-drop", {"parcel_id": 1})]


@hookimpl
def register_integrations(register: RegisterIntegration) -> None:
    own, admin = Key("deployer"), Operator()
    operations = [
        one
        for who, auth in (("own", own), ("admin", admin))
        for one in (
            Operation(f"courier.{who}-add", add, Parcel, FREE, auth=auth),
            Operation(f"courier.{who}-rename", rename, Named, FREE, path=f"/{who}/{{parcel_id}}", auth=auth),
            Operation(
                f"courier.{who}-drop", drop, Named, FREE, path=f"/{who}/{{parcel_id}}", method="DELETE", auth=auth
            ),
            Operation(f"courier.{who}-greet", greet, Nothing, FREE, method="GET", auth=auth),
        )
    ]
    operations += [
        Operation("courier.add", add, Parcel, FREE, auth=admin),
        Operation("courier.own-connect", connect, Nothing, FREE, auth=own),
        Operation("courier.own-label", label, Nothing, FREE, auth=own),
        Operation(
            "courier.own-scan",
            scan,
            Scan,
            PerUnit("scan", unit="bytes_in", per=1000, most=40 * 2**20),
            method="PUT",
            path="/own/scans/{name}",
            auth=own,
            upload=True,
        ),
        Operation("courier.admin-scan", scan, Scan, FREE, path="/admin/scans/{name}", auth=admin, upload=True),
        Operation("courier.own-measure", measure, Nothing, FREE, auth=own, upload=True),
        Operation("courier.own-copy", copy, Nothing, FREE, auth=own, upload=True),
        Operation("courier.own-owner", measure, Nothing, FREE, auth=Key("owner"), upload=True),
    ]
    filters = [panels.Filter("name", "Name"), panels.Filter("month", "Month", "month")]
    register(
        Integration(
            "courier",
            operations,
            schema="schema",
            customer=CourierCustomer,
            by_customer=["contact", "is_insured"],
            secrets=[Secret("token", "Courier token", by_customer=True), Secret("pin", "PIN of the gate")],
            panels=[
                Panel("Courier", "Parcels", everything, needs_customer=True, filters=filters),
                Panel("Courier", "About the customer", about, refresh_s=5),
                Panel("Courier", "Ways", ways, "dashboard"),
                Panel("Courier", "Parcels", everything, "dashboard", filters=filters),
                Panel("billing", "Postage", about),
                Panel("billing", "Postage", about, "dashboard"),
                Panel("customers", "Courier", about, needs_customer=True),
                Panel("Hostile", "Values", hostile, needs_customer=False),
                Panel("Hostile", "Writes", writes),
                Panel("Hostile", "Writes in a query", writes_in_a_query),
                Panel("Hostile", "Never ends", never_ends, timeout_s=0.2),
                Panel("Hostile", "Wrong", wrong),
                Panel("Hostile", "Mixed up", mixed_up),
                Panel("Hostile", "No upload", no_upload),
                Panel("Hostile", "No file", no_file),
                Panel("Files", "Scans", files, needs_customer=True),
                Panel("Files", "Scans", files, "dashboard"),
            ],
        )
    )
