"""All routes of the API."""

from __future__ import annotations

from kaixu.api.jobs.manage import job_routes
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .admin.customers import customer_routes
from .admin.devices import device_routes
from .admin.embed_usage import embed_usage_routes
from .admin.end_users import end_user_routes
from .admin.explain import explain_routes
from .admin.invoices import invoice_routes
from .admin.keys import key_routes
from .admin.login import login_routes
from .admin.monitor_events import monitor_event_routes
from .admin.monitor_stream import monitor_stream_routes
from .admin.platform_events import platform_event_routes
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
from .openai.batches import batch_routes
from .openai.completions import completion_routes
from .openai.embeddings import embedding_routes
from .openai.models import model_routes
from .openai.responses import responses_routes
from .operations import operation_routes
from .user.devices import own_device_routes
from .user.explain import own_explain_routes
from .user.invoices import user_invoice_routes
from .user.push import push_routes
from .user.session import session_routes
from .user.usage import own_usage_routes
from .user.usage_chart import user_chart_routes

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
    operation_routes,
    # operators
    login_routes,
    customer_routes,
    key_routes,
    device_routes,
    end_user_routes,
    topup_routes,
    usage_routes,
    usage_report_routes,
    embed_usage_routes,
    explain_routes,
    monitor_event_routes,
    platform_event_routes,
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
    push_routes,
    # everybody
    health_routes,
    heartbeat_routes,
    metrics_routes,
    client_error_routes,
)


def api_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""
    return [route for routes_of in FAMILIES for route in routes_of(services)]
