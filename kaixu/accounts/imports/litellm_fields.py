"""Fields and tables of LiteLLM's database that are not taken over, each with the reason."""

from __future__ import annotations

NOTES = "a note of LiteLLM's own"
COUNTED = "a figure that the gateway counts by itself from now on"
NO_PLACE = "the gateway has nothing like it"
ROUTES = "which endpoints a key may use is decided by its role"
PARALLEL = "calls at once are limited for the gateway as a whole (`gateway.max_in_flight_per_key`)"
PER_MODEL = "caps and rates of a key for single models are not taken over"
TOOLS = "servers for tools and agents are not part of the gateway"
RULES = "guardrails and policies are not part of the gateway"
CACHE = "caching is set for each model (`cache`)"
GROUPS = "groups of models are written as lists of models"
SET_ANEW = "a secret: set it as an environment variable or a file"
PERSON = "how people log in at LiteLLM's pages"
HISTORY = "calls of the past stay in LiteLLM's database"

KEY = {
    "soft_budget_cooldown": NOTES,
    "aliases": "names of models for one key; use `aliases` of a model",
    "config": NO_PLACE,
    "router_settings": "routing is set for each model (`deployments`, `fallback`)",
    "agent_id": TOOLS,
    "project_id": "projects are not taken over; the key belongs to its team or its user",
    "organization_id": "organizations are not taken over; the key belongs to its team or its user",
    "permissions": NO_PLACE,
    "max_parallel_requests": PARALLEL,
    "metadata": "notes and settings of LiteLLM's own; rates for single models in them are not taken over",
    "allowed_cache_controls": CACHE,
    "allowed_routes": ROUTES,
    "key_type": ROUTES,
    "policies": RULES,
    "access_group_ids": GROUPS,
    "model_spend": COUNTED,
    "model_max_budget": PER_MODEL,
    "budget_limits": PER_MODEL,
    "budget_fallbacks": "the gateway refuses a call over its cap; it does not change the model",
    "object_permission_id": TOOLS,
    "created_at": NOTES,
    "created_by": NOTES,
    "updated_at": NOTES,
    "updated_by": NOTES,
    "settings_updated_at": NOTES,
    "last_active": COUNTED,
    "rotation_count": NOTES,
    "auto_rotate": "keys are rotated by the operator or through the API",
    "rotation_interval": "keys are rotated by the operator or through the API",
    "last_rotation_at": NOTES,
    "key_rotation_at": "keys are rotated by the operator or through the API",
}

USER = {
    "user_alias": NOTES,
    "team_id": "a team is a customer of its own",
    "teams": "a team is a customer of its own",
    "sso_user_id": PERSON,
    "password": PERSON,
    "user_role": "the pages' roles; operators are set up anew",
    "organization_id": "organizations are not taken over",
    "object_permission_id": TOOLS,
    "metadata": NOTES,
    "max_parallel_requests": PARALLEL,
    "allowed_cache_controls": CACHE,
    "policies": RULES,
    "model_spend": COUNTED,
    "model_max_budget": PER_MODEL,
    "budget_limits": PER_MODEL,
    "created_at": NOTES,
    "updated_at": NOTES,
}

TEAM = {
    "organization_id": "organizations are not taken over",
    "object_permission_id": TOOLS,
    "admins": "people have no part in a customer's account",
    "members": "people have no part in a customer's account",
    "members_with_roles": "people have no part in a customer's account",
    "metadata": NOTES,
    "soft_budget": "alerts have thresholds of their own",
    "max_parallel_requests": PARALLEL,
    "model_spend": COUNTED,
    "model_max_budget": PER_MODEL,
    "budget_limits": PER_MODEL,
    "router_settings": "routing is set for each model (`deployments`, `fallback`)",
    "team_member_permissions": "people have no part in a customer's account",
    "default_team_member_models": "people have no part in a customer's account",
    "access_group_ids": GROUPS,
    "policies": RULES,
    "model_id": "names of models for one team; use `aliases` of a model",
    "allow_team_guardrail_config": RULES,
    "created_at": NOTES,
    "updated_at": NOTES,
}

BUDGET = {
    "soft_budget": "alerts have thresholds of their own",
    "max_parallel_requests": PARALLEL,
    "model_max_budget": PER_MODEL,
    "allowed_models": "lists of models are taken from keys, users and teams",
    "created_at": NOTES,
    "created_by": NOTES,
    "updated_at": NOTES,
    "updated_by": NOTES,
}

MODEL = {
    "model_id": NOTES,
    "blocked": NO_PLACE,
    "created_at": NOTES,
    "created_by": NOTES,
    "updated_at": NOTES,
    "updated_by": NOTES,
}

DAILY = {
    "custom_llm_provider": HISTORY,
    "endpoint": HISTORY,
    "id": NOTES,
    "mcp_namespaced_tool_name": HISTORY,
    "model": HISTORY,
    "model_group": HISTORY,
}

#: Tables that are not read, by name or by its beginning; the first that fits counts.
TABLES = {
    "LiteLLM_OrganizationTable": "organizations are not taken over: their teams are customers, and the budget over all "
    "of them is left out",
    "LiteLLM_OrganizationMembership": "organizations are not taken over",
    "LiteLLM_ProjectTable": "projects are not taken over: their keys belong to their team or user",
    "LiteLLM_EndUserTable": "end users have a cap for each customer; set `--end-user-cap-cents` there",
    "LiteLLM_TeamMembership": "budgets of people in a team are not taken over; the team's budget is",
    "LiteLLM_CredentialsTable": SET_ANEW,
    "LiteLLM_Config": "the settings of LiteLLM; the models in it are not read",
    "LiteLLM_SpendLogs": HISTORY,
    "LiteLLM_Daily": HISTORY,
    "LiteLLM_ErrorLogs": HISTORY,
    "LiteLLM_AuditLog": HISTORY,
    "LiteLLM_Deleted": "what was deleted there",
    "LiteLLM_DeprecatedVerificationToken": "keys that were rotated do not work here",
    "LiteLLM_InvitationLink": PERSON,
    "LiteLLM_SSO": PERSON,
    "LiteLLM_UserNotifications": NOTES,
    "LiteLLM_ModelTable": "names of models for one team; use `aliases` of a model",
    "LiteLLM_TagTable": "budgets of tags are not taken over",
    "LiteLLM_ModelAccessGroupBudgetTable": "budgets of groups of models are not taken over",
    "LiteLLM_JWTKeyMapping": PERSON,
    "LiteLLM_Guardrail": RULES,
    "LiteLLM_Policy": RULES,
    "LiteLLM_MCP": TOOLS,
    "LiteLLM_Agent": TOOLS,
    "LiteLLM_ObjectPermissionTable": TOOLS,
    "LiteLLM_Managed": "files, batches and vector stores stay with the vendor",
    "LiteLLM_AccessGroupTable": GROUPS,
    "_prisma_migrations": NOTES,
}
OTHER_TABLE = "not accounts, keys, limits or prices"
