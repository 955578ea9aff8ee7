"""Every part of the pages in several states, on a few pages: for tests, and to look at."""

from __future__ import annotations

from kaixu.web.components import (
    Badge,
    Button,
    Card,
    Cell,
    Chart,
    Code,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Meter,
    Money,
    Muted,
    Notice,
    Number,
    Option,
    Page,
    Picture,
    Progress,
    Prose,
    Row,
    Series,
    Snippet,
    Sparkline,
    Stack,
    Stat,
    State,
    Stats,
    Table,
    Time,
)
from kaixu.web.frame import CustomerChip, Frame, StatusChip, Tab, TabGroup, Who

NONCE = "Z2FsbGVyeQ"
AT = "2026-11-28T09:41:07.123456+00:00"
LINE = Sparkline(values=[4, 5, 4, 6, 7, 6, 8, 7, 9, 8, 9, 11, 10, 12], label="14 days: 4 to 12 USD")
LONG = "a-customer-with-a-name-that-never-seems-to-end-and-has-no-spaces@subdomain.of.an.example.organisation.com"


def frame(**changes: object) -> Frame:
    """An operator's frame."""
    groups = [
        TabGroup("", [Tab(title="Overview", href="/gateway", icon="layout-grid", is_current=True),
                      Tab(title="Monitor", href="/gateway/monitor", icon="activity", count=3)]),
        TabGroup("Customers", [Tab(title="Customers", href="/gateway/customers", icon="users"),
                               Tab(title="Create", href="/gateway/create", icon="plus"),
                               Tab(title="Keys", href="/gateway/keys", icon="key-round"),
                               Tab(title="Usage", href="/gateway/usage", icon="chart-line"),
                               Tab(title="Devices", href="/gateway/devices", icon="smartphone")]),
        TabGroup("Money", [Tab(title="Billing & controls", href="/gateway/billing", icon="credit-card"),
                           Tab(title="Exports & invoices", href="/gateway/exports", icon="download")]),
        TabGroup("Models", [Tab(title="Lanes & plugins", href="/gateway/lanes", icon="plug", count=1),
                            Tab(title="Embeddings", href="/gateway/embeddings", icon="layers"),
                            Tab(title="Playground", href="/gateway/playground", icon="play")]),
        TabGroup("House", [Tab(title="Timeline", href="/gateway/timeline", icon="clock"),
                           Tab(title="Operators & audit", href="/gateway/operators", icon="shield"),
                           Tab(title="Tutorial", href="/gateway/tutorial", icon="book-open")]),
    ]  # fmt: skip
    values: dict[str, object] = {
        "kind": "admin",
        "navigation": groups,
        "operator": Who("ada@example.com", "owner", "/gateway/operators/1"),
        "status": StatusChip("warn", "1 lane off", "/gateway/lanes"),
        "nonce": NONCE,
        "form_token": "token-of-the-session",
        "path": "/gateway?from=now-24h",
        "search_href": "/gateway/search",
        "search_json": "/gateway/search.json",
        "theme_action": "/gateway/theme",
        "logout_action": "/gateway/logout",
        "footer": [Tab(title="Docs", href="/docs")],
    }
    return Frame(**(values | changes))  # type: ignore[arg-type]


def chosen(customer: str = "acme-labs") -> CustomerChip:
    """The chip of a customer."""
    return CustomerChip(customer, "/gateway/customers/1", "/gateway")


def chart(form: str = "bars", id: str = "revenue") -> Chart:
    """A chart of four weeks."""
    days = [f"{day} Nov" for day in range(1, 29)]
    return Chart(
        id=id,
        title="Revenue by model",
        labels=days,
        series=[
            Series(name="kaixu-chat", values=[88 + (at * 37) % 23 for at in range(28)], href="/gateway/usage?model=1"),
            Series(name="claude-sonnet", values=[52 + (at * 17) % 19 for at in range(28)]),
            Series(name="embed-standard", values=[24 + (at * 11) % 13 if at != 9 else None for at in range(28)]),
            Series(name="Other", values=[12 + at % 5 for at in range(28)]),
        ],
        form="lines" if form == "lines" else "bars",
        unit="usd",
    )


def stats() -> Stats:
    """Five figures."""
    return Stats(
        [
            Stat("Revenue, November", Money("4812.061938271"), trend="↑ 12 % on October, same day", state="good", sparkline=LINE),
            Stat("Vendor cost", Money("3566.90"), note="margin 25.9 %", sparkline=LINE),
            Stat("Calls today", Number(182_410), trend="↑ 4 % on last Saturday", state="good", href="/gateway/usage", sparkline=LINE),
            Stat("Errors", Number(0.31, "%", 2), trend="↑ 0.12 points", state="bad", sparkline=LINE),
            Stat("p95, first token", Number(640, "ms"), note="p50 310 ms", sparkline=LINE),
        ]
    )  # fmt: skip


def customers(id: str = "customers") -> Table:
    """Customers, as a table with everything in it."""

    def row(name: str, spent: str, part: float, cap: str, state: State, text: str, is_off: bool = False) -> Row:
        cells: list[Cell] = [
            Stack([name, Muted("starter")], lines=True),
            Money(spent),
            Meter(part, 1, cap, "bad" if part > 0.9 else "warn" if part > 0.6 else "info"),
            Money("60.00" if part > 0.9 else "0"),
            LINE,
            Badge(state, text),
            Time(AT, "ago"),
        ]
        actions: list[Button | Link] = [
            Link("Top up", f"/gateway/billing?customer={name}"),
            Button("Pause", "/gateway/pause", {"id": name}),
        ]
        return Row(cells=cells, href=f"/gateway/customers/{name}", actions=actions, state="off" if is_off else None)

    columns = [
        Column(title="Customer", sort="/gateway/customers?sort=name", wide=True),
        Column(title="Spent", align="right", sort="/gateway/customers?sort=-spent", sorted="descending"),
        Column(title="Of the cap", hint="Spent and held, of the cap of the month"),
        Column(title="Held", align="right"),
        Column(title="14 days", phone=False),
        Column(title="State"),
        Column(title="Last call", align="right"),
    ]
    rows = [
        row("acme-labs", "1920.114208310", 0.96, "$2,000", "bad", "cap near"),
        row("northwind", "1103.40", 0.22, "$5,000", "good", "active"),
        row("studio-berlin", "14.02", 0.7, "$20", "warn", "70 %"),
        row(LONG, "0.000481", 0.0, "$20", "good", "active"),
        row("fabrikam", "-0.38", 0.0, "no cap", "off", "paused", is_off=True),
    ]
    return Table(
        id=id,
        columns=columns,
        rows=rows,
        caption="Customers",
        first_href="/gateway/customers",
        next_href="/gateway/customers?after=x",
        note="5 of 214, by spend.",
    )


def overview() -> Page:
    """As an operator begins the day."""

    def attention(state: State, what: str, text: str, do: str) -> Row:
        return Row(cells=[Badge(state, what), text, Link(do, "/gateway/lanes")])

    needs = Table(
        id="attention",
        columns=[Column(title="What"), Column(title="Why", wide=True), Column(title="Next step", align="right")],
        rows=[
            attention("bad", "Lane off", "kaixu-fast: VOYAGE_API_KEY is not set", "Open"),
            attention("warn", "Cap 96 %", "acme-labs: $1,920.11 of $2,000", "Top up"),
            attention("warn", "Breaker open", "kaixu-chat on azure-eu, 4 min, 2nd deployment serves", "Look"),
            attention("bad", "Webhook", "3 Stripe events could not be handled", "Retry"),
        ],
    )
    live = Table(
        id="live",
        columns=[Column(title="At"), Column(title="Status"), Column(title="Customer", wide=True), Column(title="Cost", align="right")],
        rows=[
            Row(cells=[Time(AT, "time"), Badge(state, status), who, Money(cost, 6)], href=f"/gateway/calls/{at}")
            for at, (state, status, who, cost) in enumerate(LIVE)
        ],
    )  # fmt: skip
    return Page(
        title="Overview",
        actions=[Link("Month to date", "/gateway?from=month"), Link("7 days", "/gateway?from=now-7d")],
        twins=[Link("CSV", "/gateway.csv", download=True), Link("JSON", "/gateway.json")],
        curl="curl -sS https://gateway.example.com/api/admin-report -H \"authorization: Bearer $TOKEN\"",
        parts=[
            stats(),
            Card("Revenue by model", [chart()], "UTC days", [Link("Table", "/gateway/usage"), Link("CSV", "/x.csv")], width=7),
            Card("Needs attention", [needs], links=[Link("All", "/gateway/attention")], width=5),
            Card("Top customers", [customers("top")], "this month", [Link("All 214", "/gateway/customers")], width=7),
            Card("Live", [live], links=[Link("Monitor", "/gateway/monitor")], width=5),
        ],
    )  # fmt: skip


LIVE: list[tuple[State, str, str, str]] = [
    ("good", "200", "northwind", "0.0021"),
    ("warn", "429", "studio-berlin", "0"),
    ("good", "200", "acme-labs", "0.000481"),
    ("bad", "502", "fabrikam", "0"),
    ("good", "200", "acme-labs", "0.0188"),
]


def every_field(problems: bool = True) -> Form:
    """A form with a field of each type."""
    lanes = [Option("kaixu-chat", "kaixu-chat", "core"), Option("claude-sonnet", "claude-sonnet", "anthropic")]
    return Form(
        action="/gateway/create",
        submit="Create",
        hint="The key is shown once, on the next page.",
        problem="The customer was not created." if problems else "",
        cancel=Link("Cancel", "/gateway/customers"),
        hidden={"step": "1"},
        fields=[
            Field(name="email", label="E-mail", type="email", value="ada@example", required=True, problem="This is no e-mail address." if problems else ""),
            Field(name="cap", label="Monthly cap", type="number", value="20.00", unit="USD", min="0", hint="What all keys together may spend in a month (UTC)."),
            Field(name="plan", label="Plan", type="select", value="pro", options=[Option("starter", "Starter"), Option("pro", "Pro")]),
            Field(name="model", label="Model", type="select", options=lanes),
            Field(name="label", label="Label", placeholder="laptop", suggestions=["laptop", "ci"], maxlength=80),
            Field(name="password", label="Password", type="password", autocomplete="new-password"),
            Field(name="month", label="Month", type="month", value="2026-11"),
            Field(name="until", label="Valid until", type="date"),
            Field(name="url", label="Address", type="url", wide=True, placeholder="https://"),
            Field(name="active", label="Active", type="checkbox", checked=True, hint="Calls of others are refused."),
            Field(name="terms", label="The customer knows the price", type="checkbox", problem="Please confirm." if problems else ""),
            Field(name="may", label="What it may use", type="heading", hint="A call must be allowed by both lists."),
            Field(name="models", label="Models it may use", type="checkboxes", values=["kaixu-chat"], options=lanes, hint="None ticked: all."),
            Field(name="note", label="Note", type="textarea", value="line 1\nline 2", rows=3),
            Field(name="file", label="Documents", type="file", accept=".jsonl"),
            Field(name="version", type="hidden", value="7"),
        ],
    )  # fmt: skip


def filters(target: str = "customers") -> Form:
    """A filter form."""
    return Form(
        action="/gateway/customers",
        method="get",
        submit="Apply",
        inline=True,
        target=target,
        id="filter",
        fields=[
            Field(name="q", label="Search", type="search", placeholder="name, e-mail, key"),
            Field(name="state", label="State", type="select", options=[Option("", "any"), Option("off", "paused")]),
            Field(name="from", label="From", value="now-24h"),
            Field(name="near", label="Near the cap", type="checkbox"),
        ],
    )


def everything() -> Page:
    """All parts, one after the other."""
    facts: list[tuple[str, Cell]] = [
        ("Request", Code("0190f2c4-77aa-7d3c-8a55-2f0c9b0e11aa", copy=True)),
        ("At", Time(AT)),
        ("Day", Time("2026-11-28")),
        ("Never", Time(None, none="never")),
        ("Charged", Money("0.003821")),
        ("Nothing", Money(None)),
        ("Tiny", Money("0.0000001")),
        ("Change", Money("12.5", is_signed=True)),
        ("Cap", Meter(1920.11, 2000, "$1,920.11 of $2,000", "bad")),
        ("Long", LONG),
        ("Words", Muted("less important")),
        ("Count", 1_234_567),
        ("None", None),
        ("States", Stack([Badge("good", "active"), Badge("warn", "near"), Badge("bad", "refused"), Badge("info", "new"), Badge("off", "paused", "since yesterday")])),
        ("Links", Stack([Link("Here", "/gateway"), Link("Elsewhere", "https://example.com/", external=True), Link("File", "/x.csv", download=True, icon="download"), Button("Retry", "/x", icon="refresh-cw")])),
    ]  # fmt: skip
    return Page(
        title="Everything",
        subtitle="Each part of the pages, in several states, so that a change is seen before others see it.",
        actions=[
            Link("Open", "/gateway", icon="external-link"),
            Button("Top up", "/gateway/top-up", style="primary", icon="plus"),
            Button("Void", "/gateway/void", style="danger", icon="trash-2"),
        ],
        twins=[Link("Table", "/x"), Link("CSV", "/x.csv", download=True), Link("JSON", "/x.json")],
        curl="curl -sS https://gateway.example.com/api/admin-customers",
        parts=[
            Notice("good", "The key was revoked.", actions=[Button("Undo", "/gateway/keys/1/undo", icon="undo-2")], ends_after_s=10),
            Notice("warn", "The cap is nearly reached.", "About three days are left at this rate.", [Link("Top up", "/x")]),
            Notice("bad", "The cap was not changed.", "It must be a number in USD, such as 20.00."),
            Notice("info", "Two workers are running."),
            Notice("off", "This lane is switched off in kaixu.yaml."),
            filters(),
            customers(),
            Table(id="none", columns=[Column(title="Key")], rows=[], caption="Keys", empty=Empty(text="No key yet. A key is what a program calls the gateway with.", link=Link("Create a key", "/gateway/create"))),
            Card("Facts", [Facts(facts)], width=7),
            Card("Explanations", [
                Prose(["A sub-key has its own limits. What binds first is shown with each key.", "Held is what running calls may still cost."], items=["Revoke acts at once.", "Rotate keeps the old key for a while."], links=[Link("Tutorial", "/gateway/tutorial")]),
                Prose(["Search by the last four characters of a key."], tip=True),
                Picture("data:image/svg+xml;base64,PHN2Zy8+", "A code for an authenticator"),
                Button("Send a test", "/x", icon="send"),
            ], width=5),
            every_field(),
            Card("Foldable", [Prose(["Inside."]), Card("Nested", [Facts([("A", "1")])])], open=True, width=6, links=[Link("More", "/x")]),
            Card("Folded", [Prose(["Inside."])], open=False, width=6),
            Snippet("kx_live_5f0c9b0e11aa2f0c9b0e11aa2f0c9b0e11aa_3YRq", title="The key of acme-labs", secret=True),
            Snippet('curl https://gateway.example.com/v1/chat/completions \\\n  -H "authorization: Bearer $KAIXU_KEY" \\\n  -d \'{"model": "kaixu-chat", "messages": [{"role": "user", "content": "Hello"}]}\'', "bash", "A first call", hint="The key is read from the environment."),
            Progress("Importing documents", 1200, 5000, "1,200 of 5,000 documents", refresh="/gateway/jobs/7", id="job-7"),
            Progress("Counting", 0, None, "not known yet", id="job-8"),
            Progress("Export", 10, 10, "done", "good", id="job-9"),
            chart("lines", "by-model"),
            Chart(id="empty-chart", title="Calls", labels=[], series=[]),
        ],
    )  # fmt: skip


def pages() -> dict[str, tuple[Page, Frame]]:
    """All pages of the gallery, by name."""
    public = [TabGroup("", [Tab(title="Models & prices", href="/models"), Tab(title="Docs", href="/docs")])]
    login = Page(
        title="Log in",
        parts=[Form(action="/gateway/login", submit="Log in", fields=[
            Field(name="email", label="E-mail", type="email", required=True, autocomplete="username"),
            Field(name="password", label="Password", type="password", required=True, autocomplete="current-password"),
        ])],
    )  # fmt: skip
    return {
        "overview": (overview(), frame()),
        "everything": (everything(), frame(customer=chosen(), flashes=[Notice("good", "Saved.")])),
        "login": (login, Frame(nonce=NONCE, title="Log in", navigation=public)),
    }
