"""All pages."""

from __future__ import annotations

from kaixu.edge.routes import Route

from .admin.account import account_pages
from .admin.billing import billing_pages
from .admin.call import call_pages
from .admin.codes import code_pages
from .admin.collection_files import collection_file_pages
from .admin.collections import collection_pages
from .admin.create import create_pages
from .admin.customer_actions import customer_action_pages
from .admin.customer_details import customer_details_pages
from .admin.customer_integrations import customer_integration_pages
from .admin.customers import customer_pages
from .admin.devices import device_pages
from .admin.documents import document_pages
from .admin.embedding_forms import embedding_form_pages
from .admin.embeddings import embedding_pages
from .admin.export_columns import export_column_pages
from .admin.exports import export_pages
from .admin.integration import integration_pages
from .admin.invoice import invoice_pages
from .admin.invoice_changes import invoice_change_pages
from .admin.key_actions import key_action_pages
from .admin.key_details import key_details_pages
from .admin.key_groups import key_group_pages
from .admin.key_requests import key_request_pages
from .admin.key_settings import key_settings_pages
from .admin.keys import key_pages
from .admin.lanes import lane_pages
from .admin.login import login_pages
from .admin.monitor import monitor_pages
from .admin.monitor_event import monitor_event_pages
from .admin.monitor_prune import monitor_prune_pages
from .admin.month_close import month_close_pages
from .admin.operators import operator_pages
from .admin.overview import overview_pages
from .admin.platforms import platform_pages
from .admin.playground import playground_pages
from .admin.search import search_pages
from .admin.station import station_pages
from .admin.timeline import timeline_pages
from .admin.timeline_entry import timeline_entry_pages
from .admin.tutorial import tutorial_pages
from .admin.usage import usage_pages
from .invitation import invitation_pages
from .key_link import key_link_pages
from .panels.pages import panel_pages
from .public.docs import docs_pages
from .public.key_request import request_key_pages
from .public.models import model_pages
from .public.older_addresses import older_address_pages
from .public.preferences import preference_pages
from .public.start import start_pages
from .public.station import public_station_pages
from .public.status import status_pages
from .single_sign_on import single_sign_on_pages
from .site import Site
from .static_files import static_routes
from .user.budget import budget_pages
from .user.calls import call_list_pages
from .user.charge import charge_pages
from .user.devices import own_device_pages
from .user.integration import own_integration_pages
from .user.invoices import own_invoice_pages
from .user.own_integrations import own_integration_setting_pages
from .user.playground import own_playground_pages
from .user.redeem import redeem_pages
from .user.sign_in import sign_in_pages

PAGES = (
    # operators
    login_pages,
    overview_pages,
    customer_pages,
    customer_details_pages,
    customer_integration_pages,
    customer_action_pages,
    key_pages,
    key_details_pages,
    key_settings_pages,
    key_action_pages,
    key_group_pages,
    key_request_pages,
    device_pages,
    create_pages,
    monitor_pages,
    monitor_event_pages,
    monitor_prune_pages,
    timeline_pages,
    timeline_entry_pages,
    export_pages,
    export_column_pages,
    search_pages,
    lane_pages,
    platform_pages,
    station_pages,
    operator_pages,
    account_pages,
    playground_pages,
    integration_pages,
    embedding_pages,
    embedding_form_pages,
    collection_pages,
    document_pages,
    collection_file_pages,
    usage_pages,
    call_pages,
    billing_pages,
    invoice_pages,
    invoice_change_pages,
    month_close_pages,
    code_pages,
    tutorial_pages,
    panel_pages,
    # customers
    sign_in_pages,
    budget_pages,
    redeem_pages,
    call_list_pages,
    charge_pages,
    own_device_pages,
    own_invoice_pages,
    own_playground_pages,
    own_integration_pages,
    own_integration_setting_pages,
    # everybody
    start_pages,
    request_key_pages,
    key_link_pages,
    single_sign_on_pages,
    invitation_pages,
    public_station_pages,
    docs_pages,
    older_address_pages,
    model_pages,
    status_pages,
    preference_pages,
)


def web_routes(site: Site) -> list[Route]:
    """The routes of the pages of a gateway."""
    return [*(route for pages_of in PAGES for route in pages_of(site)), *static_routes()]
