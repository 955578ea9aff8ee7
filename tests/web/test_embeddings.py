"""The tab of embeddings: import with progress, search, documents, export, purge; what is refused."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from kaixu.edge.operator_cookies import SESSION_COOKIE

from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway
from .visiting import customer_of

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of more than one portion, with text that wants to be HTML."""
    path = tmp_path / "texts.csv"
    rows = [f"doc-{number},Text number {number},lab" for number in range(600)]
    path.write_text("\n".join(["doc_id,text,category", f'attack,"{ATTACK}","{ATTACK}"', *rows]) + "\n")
    return path


@pytest.mark.parametrize(("scripts", "width"), [(True, 1280), (False, PHONE)])
def test_documents_are_imported_found_shown_exported_and_purged(
    visit: Visit, own_gateway: Gateway, table: Path, scripts: bool, width: int
) -> None:
    customer = own_gateway.seed.customers["northwind"]
    operator = visit(own_gateway, "operator", scripts=scripts, width=width)
    page, where = operator.page, f"customer_id={customer.id}"
    operator.go(f"/gateway/embeddings/import?{where}")
    page.get_by_label("Collection (required)").fill("lab")
    page.get_by_label("Model", exact=True).select_option("openai/text-embedding-3-small")
    page.locator("input[type=file]").set_input_files(table)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(operator.main).to_contain_text("601 vectors")
    [listed] = [
        one
        for one in own_gateway.ask("GET", "gateway-embed-collections", customer_id=customer.id)["collections"]
        if one["name"] == "lab"
    ]
    assert listed["vectors"] == 601

    operator.go(f"/gateway/embeddings/search?{where}&name=lab")
    page.get_by_label("Query (required)").fill(ATTACK)
    page.get_by_role("button", name="Search", exact=True).last.click()
    expect(page.get_by_role("row").filter(has_text="attack").first).to_contain_text(ATTACK)

    operator.go(f"/gateway/embeddings/document?{where}&name=lab&doc_id=attack")
    expect(page.get_by_role("region", name="Text", exact=True)).to_have_text(ATTACK)
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete this document?")
    page.get_by_role("button", name="Delete the document").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Documents of lab")
    stored = own_gateway.request(
        "GET", "gateway-embed-collections", customer_id=customer.id, name="lab", doc_id="attack"
    )
    assert stored.status_code == 404

    exported = operator.context.request.get(
        f"{own_gateway.url}/gateway/embeddings/export?{where}&name=lab&format=csv"
    ).text()
    assert exported.startswith("doc_id,chunk,text,metadata\r\ndoc-0,0,Text number 0,")
    assert exported.endswith("# rows: 600\r\n")

    operator.go(f"/gateway/embeddings/purge?{where}&name=lab")
    expect(operator.main).to_contain_text("600 vectors of 600 documents will be deleted")
    page.get_by_role("button", name="Purge lab").click()
    expect(operator.main).to_contain_text("are gone")
    assert (
        own_gateway.request("GET", "gateway-embed-collections", customer_id=customer.id, name="lab").status_code == 404
    )


def test_texts_become_vectors_and_the_customer_pays(visit: Visit, own_gateway: Gateway) -> None:
    customer = own_gateway.seed.customers["northwind"]
    operator = visit(own_gateway, "operator").go(f"/gateway/embeddings?customer_id={customer.id}")
    page = operator.page
    page.get_by_label("Texts, one a line").fill("one\ntwo")
    page.get_by_text("Ids, metadata, dimensions").click()
    page.get_by_label("Doc IDs, one a line").fill("only-one")
    with operator.expecting(422):
        page.get_by_role("button", name="Embed", exact=True).click()
        expect(operator.main).to_contain_text("must name each of the 2 inputs")
    page.get_by_label("Doc IDs, one a line").fill("")
    page.get_by_role("button", name="Embed", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="two")).to_be_visible()
    usage = own_gateway.ask("GET", "admin-embed-usage", customer_id=customer.id)
    assert f"{usage['events'][0]['cost_usd']} USD" in operator.main.inner_text()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_file_that_cannot_be_read_is_refused_with_its_line(
    visit: Visit, gateway: Gateway, tmp_path: Path, scripts: bool
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"doc_id": "a", "text": "b"}\nnot json\n')
    customer = gateway.seed.customers["northwind"]
    operator = visit(gateway, "operator", scripts=scripts)
    operator.go(f"/gateway/embeddings/import?customer_id={customer.id}&name=manuals")
    with operator.expecting(400):
        operator.page.locator("input[type=file]").set_input_files(path)
        operator.page.get_by_role("button", name="Import", exact=True).click()
        expect(operator.main).to_contain_text("Line 2 is not JSON")


def test_an_operator_sees_collections_of_a_customer_that_requires_install_ids(
    visit: Visit, own_gateway: Gateway
) -> None:
    one = customer_of(own_gateway)
    own_gateway.rows("update kaixu.customer set require_install_id = true where id = $1", one.id)
    visitor = visit(own_gateway, "operator").go(f"/gateway/embeddings?customer_id={one.id}")
    expect(visitor.main.locator("#collections tbody tr").first).to_be_visible()
    assert own_gateway.rows("select install_id from kaixu.device where install_id = 'operator'")


def test_a_viewer_sees_collections_and_changes_none(visit: Visit, gateway: Gateway) -> None:
    where = f"customer_id={gateway.seed.customers['northwind'].id}"
    viewer = visit(gateway, "viewer").go(f"/gateway/embeddings?{where}")
    expect(viewer.page.get_by_role("row").filter(has_text="manuals")).to_be_visible()
    for name in ("Purge", "Import", "New collection"):
        assert viewer.page.get_by_role("link", name=name).count() == 0
    with viewer.expecting(403):
        viewer.go(f"/gateway/embeddings/purge?{where}&name=manuals", status=403)


def test_a_long_body_is_read_for_operators_of_this_site_only(gateway: Gateway) -> None:
    url = f"{gateway.url}/gateway/embeddings/import?customer_id={gateway.seed.customers['northwind'].id}"
    files = {"file": ("a.jsonl", b"x" * 200_000)}
    with httpx.Client(trust_env=False) as http:
        assert http.post(url, files=files).status_code == 401
        cookie = {"cookie": f"{SESSION_COOKIE}={gateway.seed.admin_token}"}
        assert http.post(url, files=files, headers=cookie | {"sec-fetch-site": "cross-site"}).status_code == 403
        own = cookie | {"sec-fetch-site": "same-origin"}
        assert http.post(url, files=files, headers=own).status_code == 403  # the form token is missing
        assert http.post(url, content=b"x" * 9_000_000, headers=own).status_code == 413
