"""Files in forms of panels, in a browser: sent with and without scripts, dropped, stopped, refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, expect

from .browser import Visitor
from .conftest import Visit
from .gateway import Gateway
from .page_checks import check_everything
from .pages import PageState
from .test_panels import ADMIN, DASHBOARD, courier, customer_id

__all__ = ["courier", "customer_id"]

BOTH = pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
SCAN = "select name, note, pages, bytes, digest from kaixu_courier.scan where customer_id = $1 and name = $2"
SCANS = "select count(*) from kaixu_courier.scan where name = $1"


def file(name: str, content: bytes) -> FilePayload:
    """A file to choose."""
    return {"name": name, "mimeType": "text/plain", "buffer": content}


def send(visitor: Visitor, payload: FilePayload | Path, note: str = "") -> None:
    """Fill in the form of the scan, and send it."""
    visitor.page.get_by_label("Note").first.fill(note)
    visitor.page.get_by_label("Scan").set_input_files(payload)
    visitor.page.get_by_role("button", name="Send the scan").click()


def test_the_page_is_accessible_and_fits(visit: Visit, courier: Gateway, customer_id: int) -> None:
    path = f"{DASHBOARD}/files"
    check_everything(visit(courier, "customer").go(path), PageState("panel-files", path))


@BOTH
def test_a_file_is_streamed_to_its_operation_with_the_fields_of_the_form(
    visit: Visit, courier: Gateway, customer_id: int, scripts: bool
) -> None:
    name = f"scan {scripts} ä.txt"
    content = b"\r\n--boundary\r\n\0" * 200_000
    customer = visit(courier, "customer", scripts=scripts).go(f"{DASHBOARD}/files?month=2026-10")
    customer.page.get_by_label("Pages").fill("12")
    send(customer, file(name, content), "with & a = note")
    expect(customer.main.get_by_text("Done.")).to_be_visible()
    assert customer.path.startswith(f"{DASHBOARD}/files?month=2026-10")
    expected = {
        "name": name,
        "note": "with & a = note",
        "pages": 12,
        "bytes": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
    }
    assert courier.rows(SCAN, customer_id, name) == [expected]
    billed = "select cost_nusd from kaixu.usage_event where customer_id = $1 and model = 'courier.own-scan'"
    assert {"cost_nusd": 10 * len(content)} in courier.rows(billed, customer_id)


@BOTH
def test_what_is_refused_is_told_at_its_field_and_nothing_is_stored(
    visit: Visit, courier: Gateway, customer_id: int, scripts: bool
) -> None:
    name = f"refused {scripts}.txt"
    customer = visit(courier, "customer", scripts=scripts).go(f"{DASHBOARD}/files")
    with customer.expecting(422):
        send(customer, file(name, b"x" * 300_000), "refused")
        expect(customer.main.get_by_text("This note is not allowed.").first).to_be_visible()
    expect(customer.page.get_by_label("Note")).to_have_attribute("aria-invalid", "true")
    expect(customer.page.get_by_label("Note")).to_have_value("refused")
    assert courier.value(SCANS, name) == 0
    # The form that is shown again works.
    send(customer, file(name, b"now"), "better")
    expect(customer.main.get_by_text("Done.")).to_be_visible()
    assert courier.value(SCANS, name) == 1


@BOTH
def test_a_file_that_is_too_long_for_the_operation_is_refused(
    visit: Visit, courier: Gateway, tmp_path: Path, scripts: bool
) -> None:
    long = tmp_path / "long.txt"
    with long.open("wb") as written:
        written.truncate(41 * 2**20)
    customer = visit(courier, "customer", scripts=scripts).go(f"{DASHBOARD}/files")
    with customer.expecting(413):
        send(customer, long)
        expect(customer.main.get_by_role("alert")).to_be_visible()
    assert courier.value(SCANS, "long.txt") == 0


def test_a_file_that_is_too_long_for_the_form_is_not_sent(visit: Visit, courier: Gateway, tmp_path: Path) -> None:
    long = tmp_path / "longer.txt"
    with long.open("wb") as written:
        written.truncate(51 * 2**20)
    customer = visit(courier, "customer").go(f"{DASHBOARD}/files")
    expect(customer.main.get_by_text("Up to 52.4 MB.")).to_be_visible()
    send(customer, long)
    expect(customer.main.get_by_text("The file has 53.5 MB; at most 52.4 MB are allowed.")).to_be_visible()
    expect(customer.page.get_by_label("Scan")).to_be_focused()


def test_a_form_without_a_file_says_so(visit: Visit, courier: Gateway) -> None:
    customer = visit(courier, "customer", scripts=False).go(f"{DASHBOARD}/files")
    token = customer.page.locator("[name=form_token]").first.input_value()
    answer = customer.page.request.post(
        f"{courier.url}{DASHBOARD}/upload/scans",
        data="".join(
            f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in (
                ("form_token", token),
                ("operation", "courier.own-scan"),
                ("file_name", "name"),
                ('file"; filename="', ""),
            )
        )
        + "--edge--\r\n",
        headers={"sec-fetch-site": "same-origin", "content-type": "multipart/form-data; boundary=edge"},
    )
    assert answer.status == 422
    assert "hoose a file" in answer.text()


def test_a_file_can_be_dropped(visit: Visit, courier: Gateway, customer_id: int) -> None:
    customer = visit(courier, "customer").go(f"{DASHBOARD}/files")
    form = customer.page.locator("form[data-upload]").first
    for names, sentence in ((["a.txt", "b.txt"], "One file at a time"), (["dropped.txt"], "dropped.txt, 7 B")):
        dropped = customer.page.evaluate_handle(
            """names => {
                const given = new DataTransfer();
                for (const name of names) given.items.add(new File(["dropped"], name));
                return given;
            }""",
            names,
        )
        form.dispatch_event("dragover", {"dataTransfer": dropped})
        expect(form).to_have_attribute("data-over", "true")
        form.dispatch_event("drop", {"dataTransfer": dropped})
        expect(form).not_to_have_attribute("data-over", "true")
        expect(form.locator("[data-told]")).to_contain_text(sentence)
    customer.press("Enter")  # the focus is on the field: Enter would open the chooser of files, not send
    customer.page.get_by_role("button", name="Send the scan").click()
    expect(customer.main.get_by_text("Done.")).to_be_visible()
    assert [row["bytes"] for row in courier.rows(SCAN, customer_id, "dropped.txt")] == [7]


def test_how_far_a_file_is_sent_is_shown_and_it_can_be_stopped(visit: Visit, courier: Gateway) -> None:
    customer = visit(courier, "customer").go(f"{DASHBOARD}/files")
    session = customer.page.context.new_cdp_session(customer.page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 400_000}
    session.send("Network.emulateNetworkConditions", slow)
    send(customer, file("stopped.txt", b"x" * 30_000_000))
    form = customer.page.locator("form[data-upload]").first
    expect(form.get_by_label("Sending the file")).to_be_visible()
    expect(form.locator("[data-words]")).to_contain_text("of 30.0 MB")
    expect(form.get_by_role("button", name="Send the scan")).to_be_disabled()
    form.get_by_role("button", name="Stop").click()
    expect(form.get_by_text("Stopped. Nothing was stored.")).to_be_visible()
    expect(form.get_by_role("button", name="Send the scan")).to_be_enabled()
    assert courier.value(SCANS, "stopped.txt") == 0


@BOTH
def test_what_an_operation_answers_is_shown(visit: Visit, courier: Gateway, scripts: bool) -> None:
    customer = visit(courier, "customer", scripts=scripts).go(f"{DASHBOARD}/files")
    customer.page.get_by_label("Measured file").set_input_files(file("a.txt", b"12345"))
    customer.page.get_by_role("button", name="Measure", exact=True).click()
    expect(customer.main.get_by_text("The file has 5 bytes.")).to_be_visible()
    customer.go(f"{DASHBOARD}/files")
    customer.page.get_by_label("Copied file").set_input_files(file("a.txt", b"12345"))
    with customer.page.expect_download() as download:
        customer.page.get_by_role("button", name="Copy", exact=True).click()
    assert download.value.suggested_filename == "copy.pdf"
    assert Path(download.value.path()).read_bytes() == b"12345"


def test_an_action_of_a_row_may_take_a_file(visit: Visit, courier: Gateway, customer_id: int) -> None:
    customer = visit(courier, "customer").go(f"{DASHBOARD}/files")
    customer.page.get_by_role("link", name="Replace").click()
    customer.page.get_by_label("New file").set_input_files(file("row.txt", b"row"))
    customer.page.get_by_role("button", name="Upload").click()
    expect(customer.main.get_by_text("Done.")).to_be_visible()
    assert [row["note"] for row in courier.rows(SCAN, customer_id, "row.txt")] == ["from a row"]


def test_operators_send_files_for_the_selected_customer(visit: Visit, courier: Gateway) -> None:
    halden = courier.seed.customers["halden"].id
    operator = visit(courier, "operator").go(f"{ADMIN}/files?customer_id={halden}")
    send(operator, file("by an operator.txt", b"abc"), "for halden")
    expect(operator.main.get_by_text("Done.")).to_be_visible()
    assert [row["note"] for row in courier.rows(SCAN, halden, "by an operator.txt")] == ["for halden"]
    audited = "select target from kaixu.audit_event where meta ->> 'operation' = 'courier.admin-scan'"
    assert courier.rows(audited) == [{"target": f"customer:{halden}"}]


def test_a_customer_without_money_is_refused_before_the_file_is_read(visit: Visit, courier: Gateway) -> None:
    osprey = courier.seed.customers["osprey"].id
    customer = visit(courier, "customer", customer="osprey").go(f"{DASHBOARD}/files")
    courier.ask("PATCH", "admin-customers", {"customer_id": osprey, "monthly_cap_cents": 0})
    with customer.expecting(402):
        send(customer, file("without money.txt", b"x" * 100_000))
        expect(customer.main.get_by_role("alert")).to_be_visible()
    assert courier.value(SCANS, "without money.txt") == 0


def test_roles_and_form_tokens_hold_for_files_too(visit: Visit, courier: Gateway, customer_id: int) -> None:
    viewer = visit(courier, "viewer").go(f"{ADMIN}/files?customer_id={customer_id}")
    expect(viewer.main.get_by_role("heading", name="Scans")).to_be_visible()
    expect(viewer.page.get_by_role("button", name="Send the scan")).to_have_count(0)
    token = viewer.page.locator("[name=form_token]").first.input_value()
    path = f"{courier.url}{ADMIN}/upload/scans?customer_id={customer_id}"
    for form_token, operation, site, status in (
        (token, "courier.admin-scan", "same-origin", 404),
        (token, "courier.own-scan", "same-origin", 404),
        (token, "courier.admin-scan", "cross-site", 403),
        ("00", "courier.admin-scan", "same-origin", 403),
    ):
        answer = viewer.page.request.post(
            path,
            multipart={
                "form_token": form_token,
                "operation": operation,
                "v.name": "by a viewer",
                "file": file("x.txt", b"x"),
            },
            headers={"sec-fetch-site": site},
        )
        assert answer.status == status, (operation, site)
    assert courier.value(SCANS, "by a viewer") == 0
    stranger = visit(courier, "public")
    answer = stranger.page.request.post(
        path, multipart={"file": file("x.txt", b"x")}, headers={"sec-fetch-site": "same-origin"}, max_redirects=0
    )
    assert (answer.status, answer.headers["location"]) == (303, "/gateway/login")
    # Opened again, the address of a form leads back to its panel.
    viewer.go(f"{ADMIN}/upload/scans?customer_id={customer_id}")
    assert viewer.path == f"{ADMIN}/files?customer_id={customer_id}"
