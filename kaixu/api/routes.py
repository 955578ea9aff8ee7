"""All routes of the API."""

from __future__ import annotations

from kaixu.api.jobs.manage import job_routes
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .admin.alerts import alert_routes
from .admin.audit import audit_routes
from .admin.codes import code_routes
from .admin.customers import customer_routes
from .admin.devices import device_routes
from .admin.embed_usage import embed_usage_routes
from .admin.end_users import end_user_routes
from .admin.explain import explain_routes
from .admin.integration_secrets import integration_secret_routes
from .admin.integration_settings import integration_setting_routes
from .admin.invoices import invoice_routes
from .admin.key_groups import key_group_routes
from .admin.key_requests import key_request_routes
from .admin.key_session import key_session_routes
from .admin.keys import key_routes
from .admin.lane_snippet import lane_snippet_routes
from .admin.lane_test import lane_test_routes
from .admin.lanes import lane_routes
from .admin.login import login_routes
from .admin.models import model_list_routes
from .admin.monitor_events import monitor_event_routes
from .admin.monitor_stream import monitor_stream_routes
from .admin.operator_search import operator_search_routes
from .admin.operator_sessions import operator_session_routes
from .admin.operator_tokens import operator_token_routes
from .admin.operators import operator_routes
from .admin.overview import overview_routes
from .admin.own_account import own_account_routes
from .admin.plans import plan_routes
from .admin.platform_control import platform_control_routes
from .admin.platform_events import platform_event_routes
from .admin.platform_ops import platform_ops_routes
from .admin.platform_state import platform_state_routes
from .admin.station import admin_station_routes
from .admin.topup import topup_routes
from .admin.usage import usage_routes
from .admin.usage_reports import usage_report_routes
from .anthropic.messages import message_routes
from .client_errors import client_error_routes
from .collections.embed import embed_routes
from .collections.manage import collection_routes
from .collections.search import search_routes
from .exports import export_routes
from .health import health_routes
from .heartbeat import heartbeat_routes
from .jobs.submit import submit_routes
from .metrics import metrics_routes
from .native.chat import chat_routes
from .not_configured import not_configured_routes
from .openai.batches import batch_routes
from .openai.completions import completion_routes
from .openai.embeddings import embedding_routes
from .openai.models import model_routes
from .openai.responses import responses_routes
from .public_models import public_model_routes
from .request_key import request_key_routes
from .station.public import station_routes
from .user.devices import own_device_routes
from .user.explain import own_explain_routes
from .user.integrations import own_integration_routes
from .user.invoices import user_invoice_routes
from .user.push import push_routes
from .user.redeem import redeem_routes
from .user.session import session_routes
from .user.usage import own_usage_routes
from .user.usage_chart import user_chart_routes
from .webhooks import webhook_routes

#: The error format of unknown paths: below `/v1/` most clients are OpenAI's.
PREFIX_SHAPES = {"/v1/": openai_error}

FAMILIES = (
    # calls
    chat_routes,
    completion_routes,
    responses_routes,
    embedding_routes,
    model_routes,
    batch_routes,
    message_routes,
    embed_routes,
    search_routes,
    collection_routes,
    submit_routes,
    job_routes,
    webhook_routes,
    # operators
    overview_routes,
    operator_search_routes,
    login_routes,
    own_account_routes,
    operator_routes,
    operator_session_routes,
    operator_token_routes,
    customer_routes,
    key_routes,
    key_session_routes,
    model_list_routes,
    key_group_routes,
    key_request_routes,
    device_routes,
    end_user_routes,
    integration_secret_routes,
    integration_setting_routes,
    plan_routes,
    topup_routes,
    code_routes,
    alert_routes,
    usage_routes,
    usage_report_routes,
    lane_routes,
    lane_test_routes,
    lane_snippet_routes,
    embed_usage_routes,
    explain_routes,
    monitor_event_routes,
    platform_event_routes,
    audit_routes,
    platform_control_routes,
    platform_ops_routes,
    platform_state_routes,
    admin_station_routes,
    monitor_stream_routes,
    invoice_routes,
    export_routes,
    # customers
    session_routes,
    user_invoice_routes,
    own_usage_routes,
    user_chart_routes,
    own_explain_routes,
    own_device_routes,
    own_integration_routes,
    push_routes,
    # integrations that are not there yet
    not_configured_routes,
    redeem_routes,
    # everybody
    health_routes,
    heartbeat_routes,
    station_routes,
    metrics_routes,
    client_error_routes,
    public_model_routes,
    request_key_routes,
)


def api_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""
    return [route for routes_of in FAMILIES for route in routes_of(services)]
