"""What operators see and do of pushes: projects, tokens, deploys, files in parts, invoices, deleted customers."""

from __future__ import annotations

import asyncio

import asyncpg

from .station import Station, sha1

DATA = b"<h1>hello</h1>"


async def test_projects_are_made_changed_and_deleted(station: Station) -> None:
    of = {"customer_id": str(station.customer_id)}
    for missing in ("project_id", "name", "netlify_site_id"):
        body = {"project_id": "shop", "name": "Shop", "netlify_site_id": station.site, **of}
        del body[missing]
        said = await station.asked("POST", "admin-push-projects", body)
        assert (said.status, said.json["error"]) == (400, f"Missing {missing}")
    body = {"projectId": "shop", "name": "Shop", "netlifySiteId": station.site, **of}
    made = (await station.operator("POST", "admin-push-projects", body)).json["project"]
    assert {**made, "created_at": "", "updated_at": ""} == {
        "id": made["id"], "project_id": "shop", "name": "Shop", "netlify_site_id": station.site, "created_at": "",
        "updated_at": "",
    }  # fmt: skip
    same = (await station.operator("POST", "admin-push-projects", {**body, "name": "Store"})).json["project"]
    assert (same["id"], same["name"]) == (made["id"], "Store")
    listed = (await station.operator("GET", "admin-push-projects", **of)).json["projects"]
    assert [one["project_id"] for one in listed] == ["shop", "blog"]
    assert (await station.asked("PATCH", "admin-push-projects", {**of, "id": made["id"]})).json[
        "error"
    ] == "No fields to update"
    assert (await station.asked("PATCH", "admin-push-projects", {**of, "name": "x"})).json[
        "error"
    ] == "Missing id or project_id"
    changed = await station.operator("PATCH", "admin-push-projects", {**of, "project_id": "shop", "name": "New"})
    assert changed.json["project"]["name"] == "New"
    gone = await station.operator("PATCH", "admin-push-projects", {**of, "project_id": "none", "name": "New"})
    assert gone.json == {"project": None}
    for _ in range(2):
        assert (await station.operator("DELETE", "admin-push-projects", {**of, "id": made["id"]})).json == {"ok": True}
    assert (await station.asked("GET", "admin-push-projects")).status in (400, 422)
    assert (await station.asked("GET", "admin-push-projects", customer_id=999_999)).status == 404


async def test_projects_that_are_made_at_the_same_time_all_get_their_sites(station: Station) -> None:
    def project(number: int) -> dict[str, object]:
        return {
            "customer_id": station.customer_id, "project_id": f"p{number}", "name": "P", "netlify_site_id": f"s{number}"
        }  # fmt: skip

    await asyncio.gather(*(station.operator("POST", "admin-push-projects", project(number)) for number in range(5)))
    shown = await station.operator("GET", "admin-integration-settings", customer_id=station.customer_id)
    assert all(f'"s{number}"' in shown.text for number in range(5)), shown.text


async def test_a_token_is_set_and_cleared_and_the_customers_list_tells_the_truth(station: Station) -> None:
    async def told() -> object:
        customers = (await station.operator("GET", "admin-customers")).json["customers"]
        return next(one for one in customers if one["id"] == station.customer_id)["has_netlify_token"]

    of = {"customer_id": station.customer_id}
    assert await told() is True
    cleared = await station.operator("DELETE", "admin-netlify-token", of)
    assert cleared.json == {"ok": True, "customer_id": station.customer_id}
    has = await station.operator("GET", "admin-netlify-token", **of)
    assert has.json == {"customer_id": station.customer_id, "has_token": False}
    assert await told() is False
    assert (await station.asked("POST", "admin-netlify-token", of)).json["error"] == "Missing token"
    assert (await station.asked("POST", "admin-netlify-token", {**of, "token": "wrong"})).status == 422
    await station.operator("POST", "admin-netlify-token", {**of, "token": station.token})
    assert await told() is True


async def test_deploys_and_files_are_listed_by_month(station: Station) -> None:
    push = await station.begun({"/a": DATA, "/b": b"b"}, title="Spring", branch="next")
    await station.chunk(push["pushId"], "/a", DATA, 0, 2)
    of = {"customer_id": station.customer_id}
    deploys = (await station.operator("GET", "admin-push-deploys", **of, limit="9999")).json
    [one] = deploys["deploys"]
    assert (one["push_id"], one["branch"], one["title"], one["deploy_id"], one["state"]) == (
        push["pushId"], "next", "Spring", push["deployId"], "prepared",
    )  # fmt: skip
    assert (one["required_count"], one["uploaded_count"], one["project_id"]) == (2, 0, "blog")
    assert one["netlify_site_id"] == station.site
    files = (await station.operator("GET", "admin-push-jobs", **of, push_id=push["pushId"])).json
    [job] = files["jobs"]
    assert (job["sha1"], job["deploy_path"], job["parts"], job["received_count"], job["bytes_staged"]) == (
        sha1(DATA), "/a", 2, 1, 7,
    )  # fmt: skip
    assert files["month"] == deploys["month"]
    assert (await station.operator("GET", "admin-push-deploys", **of, month="2020-01")).json["deploys"] == []
    assert (await station.operator("GET", "admin-push-deploys", **of, project_id="other")).json["deploys"] == []
    assert (await station.asked("GET", "admin-push-deploys", **of, limit="many")).status in (400, 422)
    assert (await station.asked("GET", "admin-push-deploys", **of, month="nonsense")).status == 400


async def test_invoices_add_up_to_the_events_with_the_customer_s_prices(station: Station, pool: asyncpg.Pool) -> None:
    await station.set(pricing_version="2")
    await station.published({"/a": DATA})
    await station.published({"/b": b"b" * 30_000_000})
    bill = await station.bill()
    assert (bill["pricing_version"], bill["base_month_cents"], bill["per_deploy_cents"]) == (2, 500, 20)
    assert (bill["deploys_ready"], bill["deploy_cost_cents"]) == (2, 40)
    assert bill["total_cents"] == bill["base_month_cents"] + bill["deploy_cost_cents"] + bill["storage_cost_cents"]
    spent = await pool.fetchval(
        "select sum(cost_nusd)::bigint from kaixu.usage_event where customer_id = $1 and book = 'push'",
        station.customer_id,
    )
    assert bill["total_cents"] == (spent + 5_000_000) // 10_000_000
    of = {"customer_id": station.customer_id}
    made = (await station.operator("POST", "admin-push-invoices", {**of, "month": bill["month"]})).json
    assert made == {"ok": True, "breakdown": bill}
    [stored] = (await station.operator("GET", "admin-push-invoices", **of)).json["invoices"]
    assert (stored["month"], stored["total_cents"], stored["breakdown"]) == (bill["month"], bill["total_cents"], bill)
    assert (await station.call("POST", "push-billing", month=bill["month"])).json["breakdown"] == bill
    charges = (await station.call("GET", "user-push-charges")).json
    assert (charges["netlify"]["deploys_ready"], charges["total_push_cents"]) == (2, bill["total_cents"])
    customers = await pool.fetchrow(
        "select spent_nusd from kaixu.customer_month where customer_id = $1 and book = 'ai'", station.customer_id
    )
    assert customers is None or customers["spent_nusd"] == 0  # pushes never lower what is left for AI calls


async def test_a_deleted_project_leaves_pushes_that_may_still_be_published(
    station: Station, pool: asyncpg.Pool
) -> None:
    done = await station.published({"/a": DATA})
    push = await station.begun({"/b": b"b", "/c": b"c"})
    await station.upload(push["pushId"], "/b", b"b")
    of = {"customer_id": station.customer_id, "project_id": "blog"}
    await station.operator("DELETE", "admin-push-projects", of)
    assert (await station.call("GET", "push-status", pushId=done["push_id"])).status == 404
    assert (await station.upload(push["pushId"], "/c", b"c")).status == 200
    await station.push_in(push["pushId"], "ready")
    assert (await station.bill())["deploys_ready"] == 2


async def test_cancelling_ends_a_push_at_netlify(station: Station) -> None:
    push = await station.begun({"/a": DATA})
    path = f"/v1/push/pushes/{push['pushId']}/cancel"
    key = {"authorization": f"Bearer {station.key}"}
    done = await asyncio.gather(*(station.send("POST", path, None, key, {}) for _ in range(3)))
    assert {said.status for said in done} <= {200, 409}
    assert (await station.push_in(push["pushId"], "error", "cancelled"))["error"] in ("Canceled", "Cancelled")
    assert station.netlify.deploys[push["deployId"]].state == "error"
    assert (await station.send("POST", path, None, key, {})).json["code"] == "PUSH_ENDED"
