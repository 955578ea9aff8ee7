"""The tab of lanes and plugins in the browser: what is on, a test call, the piece of kaixu.yaml for a new lane."""

from __future__ import annotations

import yaml
from playwright.sync_api import expect

from .accessibility import assert_accessible
from .browser import PHONE
from .conftest import Visit
from .gateway import Gateway
from .layout import assert_layout


def test_a_test_call_shows_the_answer_and_costs_no_customer_anything(visit: Visit, own_gateway: Gateway) -> None:
    operator = visit(own_gateway, "operator")
    operator.go("/gateway/lanes")
    spent = own_gateway.value("select sum(spent_nusd) from kaixu.customer_month")
    row = operator.main.get_by_role("row").filter(has_text="openai/gpt-4o-mini")
    row.get_by_role("link", name="Test call").click()
    expect(operator.main.get_by_text("your vendor bills you")).to_be_visible()
    assert own_gateway.value("select count(*) from kaixu.audit_event where action = 'LANE_TEST'") == 0
    operator.page.get_by_role("button", name="Make the call").click()
    expect(operator.main.get_by_text("openai answered in")).to_be_visible()
    assert_accessible(operator.page)
    assert_layout(operator.page)
    assert own_gateway.value("select sum(spent_nusd) from kaixu.customer_month") == spent
    cost = "select vendor_cost_nusd from kaixu.usage_event where app_id = 'kaixu-lane-test'"
    assert own_gateway.value(cost) > 0


def test_a_model_shows_its_deployments_in_a_drawer(visit: Visit, gateway: Gateway) -> None:
    operator = visit(gateway, "operator")
    operator.go("/gateway/lanes")
    operator.main.get_by_role("link", name="anthropic/claude-haiku").click()
    drawer = operator.page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", name="Deployment anthropic")).to_be_visible()
    expect(drawer.get_by_role("heading", name="Deployment openai")).to_be_visible()
    assert_accessible(operator.page)
    expect(operator.main.get_by_text("sk-vendor")).to_have_count(0)


def test_the_piece_for_a_new_lane_is_made_by_a_form_and_nothing_is_written(visit: Visit, own_gateway: Gateway) -> None:
    before = own_gateway.process.config.read_text()
    operator = visit(own_gateway, "operator", width=PHONE, scripts=False)
    operator.go("/gateway/lanes/new")
    operator.page.get_by_label("Plugin").select_option("openai")
    operator.page.get_by_role("button", name="Choose").click()
    operator.page.get_by_label("Name of the lane").fill("groq")
    operator.page.get_by_label("Variable for api_key").fill("GROQ_API_KEY")
    operator.page.get_by_label("base_url").fill("https://api.groq.example/v1")
    operator.page.get_by_label("Model 1", exact=False).first.fill("fast")
    operator.page.get_by_label("Price 1, input").fill("0.5")
    operator.page.get_by_role("button", name="Show the piece").click()
    expect(operator.main.get_by_text("kaixu.yaml would be refused with this")).to_be_visible()
    operator.page.get_by_label("Price 1, output").fill("1")
    operator.page.get_by_role("button", name="Show the piece").click()
    expect(operator.main.get_by_text("This piece is valid.")).to_be_visible()
    piece = yaml.safe_load(operator.main.locator(".snippet code").first.inner_text())
    assert piece["lanes"]["groq"] == {
        "plugin": "openai",
        "base_url": "https://api.groq.example/v1",
        "api_key": "${GROQ_API_KEY}",
        "models": {"fast": {"type": "chat", "price": {"input": 0.5, "output": 1}}},
    }
    assert own_gateway.process.config.read_text() == before


def test_mistakes_of_the_file_stand_on_the_tab_with_their_line(visit: Visit, own_gateway: Gateway) -> None:
    config = own_gateway.process.config
    config.write_text(config.read_text().replace("type: embed", "type: embedding", 1))
    operator = visit(own_gateway, "operator")
    operator.go("/gateway/lanes")
    expect(operator.main.get_by_text("a reload would be refused")).to_be_visible()
    expect(operator.main.get_by_text("kaixu.yaml:13:").first).to_be_visible()
