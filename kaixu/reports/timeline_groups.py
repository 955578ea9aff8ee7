"""What an entry of the timeline is about: a surface, the platform page, or a customer, a key and so on."""

from __future__ import annotations

from collections.abc import Collection

#: The functions of the platform page, and of the station.
FUNCTIONS = {
    "admin-platform-ops": "platform-ops",
    "admin-platform-state": "platform-state",
    "admin-platform-control": "platform-control",
    "admin-platform-events": "platform-control",
    "admin-skyefuel-station": "skyefuelstation",
    "skye-fuel-station-overview": "skyefuelstation",
    "skye-fuel-station-config": "skyefuelstation",
}

#: Surfaces with a group of their own; those of every other surface are its activity.
APPS = {"skyefuelstation": "skyefuelstation", "skymail-suite": "skymail-suite", "cohort-command": "cohort-config"}
ACTIVITY = "platform-activity"

LABELS = {"skyefuelstation": "SkyeFuelStation", "skymail-suite": "SkyMail Suite"}


def functions_of(app_id: str | None) -> list[str]:
    """The functions that belong to a surface, whoever calls them."""
    return [name for name, group in FUNCTIONS.items() if app_id is not None and group == app_id]


def group_of_change(action: str) -> str:
    """The group of an entry of the audit log, by its action: `platform_ops.upsert`, `KEY_CREATE`."""
    subject, _, rest = action.lower().replace(".", "_").partition("_")
    part = rest.partition("_")[0]
    if subject == "platform":
        return f"platform-{part}" if part in ("ops", "state") else "platform-control"
    if subject == "skymail":
        return f"skymail-{part}" if part else "skymail-suite"
    if subject == "cohort":
        return "cohort-students" if part in ("student", "students") else "cohort-config"
    return subject


def group_of_event(kind: str | None, function_name: str | None, app_id: str | None, surfaces: Collection[str]) -> str:
    """The group of a monitor event. `surfaces`: the app ids of kaixu.yaml; what other apps do is the gateway's."""
    if function_name in FUNCTIONS:
        return FUNCTIONS[function_name]
    if app_id is not None and app_id in surfaces:
        return APPS.get(app_id, ACTIVITY)
    return kind or "gateway"


def label_of_group(group: str) -> str:
    """A group's name for people."""
    return LABELS.get(group) or group.replace("_", " ").replace("-", " ").capitalize()
