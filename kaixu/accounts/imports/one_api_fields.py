"""Fields and tables of one-api and new-api that are not taken over, each with the reason."""

from __future__ import annotations

NOTES = "a note of its own"
COUNTED = "a figure that the gateway counts by itself from now on"
PERSON = "how people log in at its pages"
INVITED = "rewards for invitations are not part of the gateway"
SET_ANEW = "a secret: set it as an environment variable or a file"
HISTORY = "calls of the past stay in its database"
NO_PLACE = "the gateway has nothing like it"
NETWORK = "the gateway does not bind keys to networks: do that in front of it"

TOKEN = {
    "created_time": NOTES,
    "accessed_time": COUNTED,
    "used_quota": COUNTED,
    "subnet": NETWORK,
    "allow_ips": NETWORK,
    "group": "a factor on prices is not taken over: set prices, or a plan",
    "cross_group_retry": "routing is set for each model (`deployments`, `fallback`)",
    "billing_type": NO_PLACE,
    "deleted_at": NOTES,
}

USER = {
    "password": PERSON,
    "display_name": NOTES,
    "role": "the pages' roles; operators are set up anew",
    "github_id": PERSON,
    "wechat_id": PERSON,
    "lark_id": PERSON,
    "oidc_id": PERSON,
    "discord_id": PERSON,
    "telegram_id": PERSON,
    "linux_do_id": PERSON,
    "access_token": SET_ANEW,
    "used_quota": COUNTED,
    "request_count": COUNTED,
    "aff_code": INVITED,
    "aff_count": INVITED,
    "aff_quota": INVITED,
    "aff_history": INVITED,
    "inviter_id": INVITED,
    "invite_rebate_eligible": INVITED,
    "setting": NOTES,
    "remark": NOTES,
    "created_at": NOTES,
    "last_login_at": NOTES,
    "auth_version": PERSON,
    "deleted_at": NOTES,
}

CHANNEL = {
    "id": NOTES,
    "key": SET_ANEW,
    "openai_organization": "set `organization` of the lane",
    "test_model": NOTES,
    "created_time": NOTES,
    "test_time": NOTES,
    "response_time": COUNTED,
    "other": "settings of one vendor; see the lane's fields",
    "balance": COUNTED,
    "balance_updated_time": COUNTED,
    "group": "which customers may use a model is written in their lists of models",
    "used_quota": COUNTED,
    "config": "settings of one vendor; see the lane's fields",
    "system_prompt": "set `preamble` of the lane",
    "priority": "set `deployments` of the model, with `priority`",
    "weight": "set `deployments` of the model, with `weight`",
    "status_code_mapping": NO_PLACE,
    "auto_ban": "a deployment that fails is left alone for a while (`breaker`)",
    "other_info": NOTES,
    "tag": NOTES,
    "setting": "settings of one vendor; see the lane's fields",
    "settings": "settings of one vendor; see the lane's fields",
    "param_override": "set `extra_body` of the lane",
    "header_override": "set `extra_headers` of the lane",
    "remark": NOTES,
    "channel_info": "several keys of one channel: write them as a list in `api_key`",
}

#: Tables that are not read.
TABLES = {
    "abilities": "made from the channels",
    "redemptions": "codes for credit are not taken over",
    "midjourneys": HISTORY,
    "tasks": HISTORY,
    "quota_data": HISTORY,
    "top_ups": HISTORY,
}
OTHER_TABLE = "not accounts, keys, limits or prices"
