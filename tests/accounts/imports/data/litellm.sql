--
-- PostgreSQL database dump
--

\restrict NIKJ6dmmpes84xnryQ3WX265hnK4BnY30fxlHAdqvs6uQg9fj4VqLnDedAdPk6U

-- Dumped from database version 18.4
-- Dumped by pg_dump version 18.4

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: LiteLLM_BudgetTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_BudgetTable" (
    budget_id text NOT NULL,
    max_budget double precision,
    soft_budget double precision,
    max_parallel_requests integer,
    tpm_limit bigint,
    rpm_limit bigint,
    model_max_budget jsonb,
    budget_duration text,
    budget_reset_at timestamp(3) without time zone,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created_by text NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_by text NOT NULL,
    allowed_models text[] DEFAULT ARRAY[]::text[],
    tpd_limit bigint,
    temp_budget_increase double precision,
    temp_budget_expiry timestamp(3) without time zone
);


--
-- Name: LiteLLM_CredentialsTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_CredentialsTable" (
    credential_id text NOT NULL,
    credential_name text NOT NULL,
    credential_values jsonb NOT NULL,
    credential_info jsonb,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created_by text NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_by text NOT NULL,
    display_name text
);


--
-- Name: LiteLLM_DailyUserSpend; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_DailyUserSpend" (
    id text NOT NULL,
    user_id text,
    date text NOT NULL,
    api_key text NOT NULL,
    model text,
    model_group text,
    custom_llm_provider text,
    prompt_tokens bigint DEFAULT 0 NOT NULL,
    completion_tokens bigint DEFAULT 0 NOT NULL,
    spend double precision DEFAULT 0.0 NOT NULL,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_at timestamp(3) without time zone NOT NULL,
    api_requests bigint DEFAULT 0 NOT NULL,
    failed_requests bigint DEFAULT 0 NOT NULL,
    successful_requests bigint DEFAULT 0 NOT NULL,
    cache_creation_input_tokens bigint DEFAULT 0 NOT NULL,
    cache_read_input_tokens bigint DEFAULT 0 NOT NULL,
    mcp_namespaced_tool_name text,
    endpoint text,
    compression_saved_tokens bigint DEFAULT 0 NOT NULL,
    compression_savings_spend double precision DEFAULT 0.0 NOT NULL,
    prompt_caching_savings_spend double precision DEFAULT 0.0 NOT NULL,
    autorouter_savings_spend double precision DEFAULT 0.0 NOT NULL,
    gateway_injected_caching_savings_spend double precision DEFAULT 0.0 CONSTRAINT "LiteLLM_DailyUserSpend_gateway_injected_caching_saving_not_null" NOT NULL,
    total_response_time_ms bigint DEFAULT 0 NOT NULL,
    timed_requests bigint DEFAULT 0 NOT NULL
);


--
-- Name: LiteLLM_EndUserTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_EndUserTable" (
    user_id text NOT NULL,
    alias text,
    spend double precision DEFAULT 0.0 NOT NULL,
    allowed_model_region text,
    default_model text,
    budget_id text,
    blocked boolean DEFAULT false NOT NULL,
    object_permission_id text,
    models text[] DEFAULT ARRAY[]::text[]
);


--
-- Name: LiteLLM_OrganizationTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_OrganizationTable" (
    organization_id text NOT NULL,
    organization_alias text NOT NULL,
    budget_id text NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    models text[],
    spend double precision DEFAULT 0.0 NOT NULL,
    model_spend jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created_by text NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_by text NOT NULL,
    object_permission_id text
);


--
-- Name: LiteLLM_ProxyModelTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_ProxyModelTable" (
    model_id text NOT NULL,
    model_name text NOT NULL,
    litellm_params jsonb NOT NULL,
    model_info jsonb,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created_by text NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_by text NOT NULL,
    blocked boolean DEFAULT false NOT NULL
);


--
-- Name: LiteLLM_SpendLogs; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_SpendLogs" (
    request_id text NOT NULL,
    call_type text NOT NULL,
    api_key text DEFAULT ''::text NOT NULL,
    spend double precision DEFAULT 0.0 NOT NULL,
    total_tokens integer DEFAULT 0 NOT NULL,
    prompt_tokens integer DEFAULT 0 NOT NULL,
    completion_tokens integer DEFAULT 0 NOT NULL,
    "startTime" timestamp(3) without time zone NOT NULL,
    "endTime" timestamp(3) without time zone NOT NULL,
    "completionStartTime" timestamp(3) without time zone,
    model text DEFAULT ''::text NOT NULL,
    model_id text DEFAULT ''::text,
    model_group text DEFAULT ''::text,
    custom_llm_provider text DEFAULT ''::text,
    api_base text DEFAULT ''::text,
    "user" text DEFAULT ''::text,
    metadata jsonb DEFAULT '{}'::jsonb,
    cache_hit text DEFAULT ''::text,
    cache_key text DEFAULT ''::text,
    request_tags jsonb DEFAULT '[]'::jsonb,
    team_id text,
    end_user text,
    requester_ip_address text,
    messages jsonb DEFAULT '{}'::jsonb,
    response jsonb DEFAULT '{}'::jsonb,
    proxy_server_request jsonb DEFAULT '{}'::jsonb,
    session_id text,
    status text,
    mcp_namespaced_tool_name text,
    organization_id text,
    agent_id text,
    request_duration_ms integer,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    litellm_call_id text,
    billing_agent_id text
);


--
-- Name: LiteLLM_TeamMembership; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_TeamMembership" (
    user_id text NOT NULL,
    team_id text NOT NULL,
    spend double precision DEFAULT 0.0 NOT NULL,
    budget_id text,
    total_spend double precision DEFAULT 0.0 NOT NULL
);


--
-- Name: LiteLLM_TeamTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_TeamTable" (
    team_id text NOT NULL,
    team_alias text,
    organization_id text,
    admins text[],
    members text[],
    members_with_roles jsonb DEFAULT '{}'::jsonb NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    max_budget double precision,
    spend double precision DEFAULT 0.0 NOT NULL,
    models text[],
    max_parallel_requests integer,
    tpm_limit bigint,
    rpm_limit bigint,
    budget_duration text,
    budget_reset_at timestamp(3) without time zone,
    blocked boolean DEFAULT false NOT NULL,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL,
    model_spend jsonb DEFAULT '{}'::jsonb NOT NULL,
    model_max_budget jsonb DEFAULT '{}'::jsonb NOT NULL,
    model_id integer,
    team_member_permissions text[] DEFAULT ARRAY[]::text[],
    object_permission_id text,
    router_settings jsonb DEFAULT '{}'::jsonb,
    policies text[] DEFAULT ARRAY[]::text[],
    allow_team_guardrail_config boolean DEFAULT false NOT NULL,
    soft_budget double precision,
    access_group_ids text[] DEFAULT ARRAY[]::text[],
    budget_limits jsonb,
    default_team_member_models text[] DEFAULT ARRAY[]::text[],
    tpd_limit bigint
);


--
-- Name: LiteLLM_UserTable; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_UserTable" (
    user_id text NOT NULL,
    user_alias text,
    team_id text,
    sso_user_id text,
    organization_id text,
    password text,
    teams text[] DEFAULT ARRAY[]::text[],
    user_role text,
    max_budget double precision,
    spend double precision DEFAULT 0.0 NOT NULL,
    user_email text,
    models text[],
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    max_parallel_requests integer,
    tpm_limit bigint,
    rpm_limit bigint,
    budget_duration text,
    budget_reset_at timestamp(3) without time zone,
    allowed_cache_controls text[] DEFAULT ARRAY[]::text[],
    model_spend jsonb DEFAULT '{}'::jsonb NOT NULL,
    model_max_budget jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP,
    object_permission_id text,
    policies text[] DEFAULT ARRAY[]::text[],
    password_reset_required boolean,
    last_breach_check_at timestamp(3) without time zone
);


--
-- Name: LiteLLM_VerificationToken; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."LiteLLM_VerificationToken" (
    token text NOT NULL,
    key_name text,
    key_alias text,
    soft_budget_cooldown boolean DEFAULT false NOT NULL,
    spend double precision DEFAULT 0.0 NOT NULL,
    expires timestamp(3) without time zone,
    models text[],
    aliases jsonb DEFAULT '{}'::jsonb NOT NULL,
    config jsonb DEFAULT '{}'::jsonb NOT NULL,
    user_id text,
    team_id text,
    permissions jsonb DEFAULT '{}'::jsonb NOT NULL,
    max_parallel_requests integer,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    blocked boolean,
    tpm_limit bigint,
    rpm_limit bigint,
    max_budget double precision,
    budget_duration text,
    budget_reset_at timestamp(3) without time zone,
    allowed_cache_controls text[] DEFAULT ARRAY[]::text[],
    model_spend jsonb DEFAULT '{}'::jsonb NOT NULL,
    model_max_budget jsonb DEFAULT '{}'::jsonb NOT NULL,
    budget_id text,
    organization_id text,
    created_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP,
    created_by text,
    updated_at timestamp(3) without time zone DEFAULT CURRENT_TIMESTAMP,
    updated_by text,
    allowed_routes text[] DEFAULT ARRAY[]::text[],
    object_permission_id text,
    auto_rotate boolean DEFAULT false,
    key_rotation_at timestamp(3) without time zone,
    last_rotation_at timestamp(3) without time zone,
    rotation_count integer DEFAULT 0,
    rotation_interval text,
    project_id text,
    router_settings jsonb DEFAULT '{}'::jsonb,
    policies text[] DEFAULT ARRAY[]::text[],
    access_group_ids text[] DEFAULT ARRAY[]::text[],
    last_active timestamp(3) without time zone,
    agent_id text,
    budget_limits jsonb,
    budget_fallbacks jsonb DEFAULT '{}'::jsonb NOT NULL,
    key_type text,
    settings_updated_at timestamp(3) without time zone,
    tpd_limit bigint,
    total_spend double precision DEFAULT 0.0 NOT NULL
);


--
-- Data for Name: LiteLLM_BudgetTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_BudgetTable" (budget_id, max_budget, soft_budget, max_parallel_requests, tpm_limit, rpm_limit, model_max_budget, budget_duration, budget_reset_at, created_at, created_by, updated_at, updated_by, allowed_models, tpd_limit, temp_budget_increase, temp_budget_expiry) FROM stdin;
shared-30d	40	30	\N	9000	50	\N	30d	\N	2026-11-29 08:50:58.134	admin	2026-11-29 08:50:58.134	admin	{}	\N	\N	\N
org-budget	1000	\N	\N	\N	\N	\N	1mo	\N	2026-11-29 08:50:58.138	admin	2026-11-29 08:50:58.138	admin	{}	\N	\N	\N
\.


--
-- Data for Name: LiteLLM_CredentialsTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, credential_info, created_at, created_by, updated_at, updated_by, display_name) FROM stdin;
c1	openai	{"api_key": "nfN_Xny8PDkdhydCtfKGwkLnM6Ca3Z7qtc-p-6sQ0uWZFzVfu_RPhnNrLXg="}	\N	2026-11-29 08:50:58.281	admin	2026-11-29 08:50:58.281	admin	\N
\.


--
-- Data for Name: LiteLLM_DailyUserSpend; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_DailyUserSpend" (id, user_id, date, api_key, model, model_group, custom_llm_provider, prompt_tokens, completion_tokens, spend, created_at, updated_at, api_requests, failed_requests, successful_requests, cache_creation_input_tokens, cache_read_input_tokens, mcp_namespaced_tool_name, endpoint, compression_saved_tokens, compression_savings_spend, prompt_caching_savings_spend, autorouter_savings_spend, gateway_injected_caching_savings_spend, total_response_time_ms, timed_requests) FROM stdin;
d0	u-ada	2026-11-03	f5f4f8421fb3fd4bc5b304ac9cb8e977f58a59e2e58bc6e9472c146d579bf3f5	gpt-4o-mini	\N	\N	0	0	1.25	2026-11-29 08:50:58.255	2026-11-15 00:00:00	0	0	0	0	0	\N	\N	0	0	0	0	0	0	0
d1	u-ada	2026-11-07	f5f4f8421fb3fd4bc5b304ac9cb8e977f58a59e2e58bc6e9472c146d579bf3f5	gpt-4o-mini	\N	\N	0	0	0.5	2026-11-29 08:50:58.259	2026-11-15 00:00:00	0	0	0	0	0	\N	\N	0	0	0	0	0	0	0
d2	u-ada	2026-10-30	f5f4f8421fb3fd4bc5b304ac9cb8e977f58a59e2e58bc6e9472c146d579bf3f5	gpt-4o-mini	\N	\N	0	0	50	2026-11-29 08:50:58.262	2026-11-15 00:00:00	0	0	0	0	0	\N	\N	0	0	0	0	0	0	0
d3	u-ada	2026-11-07	a10d27ae00d99c03cefad6b9a16d03d62130c33f5464a05e5f346417e62e416d	gpt-4o-mini	\N	\N	0	0	0.75	2026-11-29 08:50:58.263	2026-11-15 00:00:00	0	0	0	0	0	\N	\N	0	0	0	0	0	0	0
d4	u-ada	2026-11-07	f09df333b60251bdef217d2840508aebf6cb925ad0858f505493efa99b2910a7	gpt-4o-mini	\N	\N	0	0	2.5	2026-11-29 08:50:58.265	2026-11-15 00:00:00	0	0	0	0	0	\N	\N	0	0	0	0	0	0	0
\.


--
-- Data for Name: LiteLLM_EndUserTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_EndUserTable" (user_id, alias, spend, allowed_model_region, default_model, budget_id, blocked, object_permission_id, models) FROM stdin;
visitor-1	\N	0.5	\N	\N	shared-30d	f	\N	{}
\.


--
-- Data for Name: LiteLLM_OrganizationTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, metadata, models, spend, model_spend, created_at, created_by, updated_at, updated_by, object_permission_id) FROM stdin;
org-1	Example Org	org-budget	{}	{}	0	{}	2026-11-29 08:50:58.143	admin	2026-11-29 08:50:58.143	admin	\N
\.


--
-- Data for Name: LiteLLM_ProxyModelTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_at, created_by, updated_at, updated_by, blocked) FROM stdin;
m1	gpt-4o-mini	{"model": "lNnw2pcnZEOrg90xXQAO71dRkW-NSEnErLN2g3T0f8Xorr7LkEQBxm9wZW5haS9ncHQtNG8tbWluaQ==", "api_key": "ROmFrn-oOqxDxQrKfNnFzzSMIjZaGHVcW8FMz2gemIGTRr0XBgKhbHNrLXZlbmRvci1zZWNyZXQ=", "input_cost_per_token": 0.00000015, "output_cost_per_token": 0.0000006}	{"mode": "chat", "base_model": "gpt-4o-mini", "access_groups": ["fast"]}	2026-11-29 08:50:58.241	admin	2026-11-29 08:50:58.241	admin	f
m2	claude-sonnet	{"model": "anthropic/claude-sonnet-4-5", "api_key": "URwwEOi3zOXu3MESqki8rbj8CQ9D2OBtKCKJIYsAX5ZKy_-IaalWNXNrLWFudC12ZW5kb3I=", "input_cost_per_token": 0.000003, "output_cost_per_token": 0.000015, "cache_read_input_token_cost": 0.0000003}	{"mode": "chat", "access_groups": ["fast"]}	2026-11-29 08:50:58.245	admin	2026-11-29 08:50:58.245	admin	f
m3	house/llama	{"rpm": 100, "model": "hosted_vllm/llama-3.1-8b", "api_base": "http://10.0.0.5:8000/v1"}	{}	2026-11-29 08:50:58.246	admin	2026-11-29 08:50:58.246	admin	f
m4	embed	{"model": "openai/text-embedding-3-small", "input_cost_per_token": 0.00000002}	{"mode": "embedding"}	2026-11-29 08:50:58.247	admin	2026-11-29 08:50:58.247	admin	f
m5	bedrock-claude	{"model": "bedrock/anthropic.claude-v2"}	{}	2026-11-29 08:50:58.252	admin	2026-11-29 08:50:58.252	admin	f
\.


--
-- Data for Name: LiteLLM_SpendLogs; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_SpendLogs" (request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime", "completionStartTime", model, model_id, model_group, custom_llm_provider, api_base, "user", metadata, cache_hit, cache_key, request_tags, team_id, end_user, requester_ip_address, messages, response, proxy_server_request, session_id, status, mcp_namespaced_tool_name, organization_id, agent_id, request_duration_ms, created_at, updated_at, litellm_call_id, billing_agent_id) FROM stdin;
r1	acompletion	f09df333b60251bdef217d2840508aebf6cb925ad0858f505493efa99b2910a7	2.5	0	0	0	2026-11-15 00:00:00	2026-11-15 00:00:00	\N							{}			[]	\N	\N	\N	{"a": "line one\\nCOPY public.\\"x\\" (a) FROM stdin;\\n\\\\."}	{}	{}	\N	\N	\N	\N	\N	\N	2026-11-29 08:50:58.289	2026-11-29 08:50:58.289	\N	\N
\.


--
-- Data for Name: LiteLLM_TeamMembership; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_TeamMembership" (user_id, team_id, spend, budget_id, total_spend) FROM stdin;
u-ada	team-red	1	shared-30d	0
\.


--
-- Data for Name: LiteLLM_TeamTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_TeamTable" (team_id, team_alias, organization_id, admins, members, members_with_roles, metadata, max_budget, spend, models, max_parallel_requests, tpm_limit, rpm_limit, budget_duration, budget_reset_at, blocked, created_at, updated_at, model_spend, model_max_budget, model_id, team_member_permissions, object_permission_id, router_settings, policies, allow_team_guardrail_config, soft_budget, access_group_ids, budget_limits, default_team_member_models, tpd_limit) FROM stdin;
team-red	Red "team"\twith a tab	org-1	{default_user_id}	{}	{}	{}	100	12.5	{gpt-4o-mini,fast}	\N	\N	20	30d	2999-01-01 00:00:00	f	2026-11-29 08:50:58.173	2026-11-29 08:50:58.173	{}	{}	\N	{}	\N	{}	{}	f	80	{}	\N	{}	\N
team-blocked	Blocked	\N	{}	{}	{}	{}	\N	0	{}	\N	\N	\N	\N	\N	t	2026-11-29 08:50:58.181	2026-11-29 08:50:58.181	{}	{}	\N	{}	\N	{}	{}	f	\N	{}	\N	{}	\N
\.


--
-- Data for Name: LiteLLM_UserTable; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_UserTable" (user_id, user_alias, team_id, sso_user_id, organization_id, password, teams, user_role, max_budget, spend, user_email, models, metadata, max_parallel_requests, tpm_limit, rpm_limit, budget_duration, budget_reset_at, allowed_cache_controls, model_spend, model_max_budget, created_at, updated_at, object_permission_id, policies, password_reset_required, last_breach_check_at) FROM stdin;
u-ada	Ada	\N	\N	\N	\N	{}	internal_user	25.5	4.25	Ada@Example.com	{}	{}	\N	\N	\N	1mo	2999-01-01 00:00:00	{}	{}	{}	2026-11-29 08:50:58.146	2026-11-29 08:50:58.146	\N	{}	\N	\N
u-twin	\N	\N	\N	\N	\N	{}	\N	\N	0	ada@example.com	{gpt-4o-mini}	{}	\N	\N	\N	\N	\N	{}	{}	{}	2026-11-29 08:50:58.147	2026-11-29 08:50:58.147	\N	{}	\N	\N
default_user_id	\N	\N	\N	\N	\N	{team-red}	proxy_admin	\N	1	\N	{no-default-models}	{}	\N	\N	\N	\N	\N	{}	{}	{}	2026-11-29 08:50:58.148	2026-11-29 08:50:58.148	\N	{}	\N	\N
grace@example.com	\N	\N	\N	\N	\N	{}	\N	5	7	\N	{openai/*,claude-sonnet}	{}	\N	1000	7	\N	\N	{}	{}	{}	2026-11-29 08:50:58.161	2026-11-29 08:50:58.161	\N	{}	\N	\N
u-reset	\N	\N	\N	\N	\N	{}	\N	10	9	not an address	{}	{}	\N	\N	\N	30d	2020-01-01 00:00:00	{}	{}	{}	2026-11-29 08:50:58.167	2026-11-29 08:50:58.167	\N	{}	\N	\N
\.


--
-- Data for Name: LiteLLM_VerificationToken; Type: TABLE DATA; Schema: public; Owner: -
--

COPY public."LiteLLM_VerificationToken" (token, key_name, key_alias, soft_budget_cooldown, spend, expires, models, aliases, config, user_id, team_id, permissions, max_parallel_requests, metadata, blocked, tpm_limit, rpm_limit, max_budget, budget_duration, budget_reset_at, allowed_cache_controls, model_spend, model_max_budget, budget_id, organization_id, created_at, created_by, updated_at, updated_by, allowed_routes, object_permission_id, auto_rotate, key_rotation_at, last_rotation_at, rotation_count, rotation_interval, project_id, router_settings, policies, access_group_ids, last_active, agent_id, budget_limits, budget_fallbacks, key_type, settings_updated_at, tpd_limit, total_spend) FROM stdin;
f09df333b60251bdef217d2840508aebf6cb925ad0858f505493efa99b2910a7	sk-...0001	laptop	f	2.5	\N	{gpt-4o-mini}	{}	{}	u-ada	\N	{}	2	{"tags": ["a"], "model_rpm_limit": {"gpt-4o-mini": 3}}	\N	4000	12	10	30d	2999-01-01 00:00:00	{}	{}	{}	\N	\N	2026-11-29 08:50:58.185	\N	2026-11-29 08:50:58.185	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
f5f4f8421fb3fd4bc5b304ac9cb8e977f58a59e2e58bc6e9472c146d579bf3f5	sk-...0002	laptop	f	99	\N	{}	{}	{}	u-ada	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.187	\N	2026-11-29 08:50:58.187	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
a10d27ae00d99c03cefad6b9a16d03d62130c33f5464a05e5f346417e62e416d	sk-...0003	\N	f	0.5	\N	{}	{}	{}	u-ada	\N	{}	\N	{}	\N	\N	\N	1	1d	2999-01-01 00:00:00	{}	{}	{}	\N	\N	2026-11-29 08:50:58.193	\N	2026-11-29 08:50:58.193	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
dadf453c4485815b29b6eb80458be377dc891b49cfbd31f40135425ab02e42a6	sk-...0004	\N	f	3	\N	{all-team-models}	{}	{}	u-ada	team-red	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.201	\N	2026-11-29 08:50:58.201	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
88a6d6b6e401e05f04c4ebab02e7b47a4dda9bb92e1b3a7d59af2e7d22f7e954	sk-...0005	\N	f	0	\N	{}	{}	{}	u-ada	\N	{}	\N	{}	t	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.202	\N	2026-11-29 08:50:58.202	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
44a60bb5890bbfa10cc6a2d43ece62801f843c2904125bbf05fab8d5dd903163	sk-...0006	\N	f	0	2020-01-01 00:00:00	{}	{}	{}	u-ada	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.209	\N	2026-11-29 08:50:58.209	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
972007bb7cf2e13e7da70623df39b5d8f8608da544657186d34a49dd7bc2f43e	sk-...0007	\N	f	0	2999-01-01 00:00:00	{}	{}	{}	u-ada	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.213	\N	2026-11-29 08:50:58.213	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
04014300344486f05af5dbc727227c0a469244a91dd93a52ad3f29d597b14dc9	sk-...0008	\N	f	0	\N	{openai/*}	{}	{}	\N	\N	{}	\N	{}	\N	\N	\N	3	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.217	\N	2026-11-29 08:50:58.217	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
d6a8c49b6824db78ada247d1af9028e8d2bf8a57fe068abc1871aee1195e20e9	sk-...0009	\N	f	0	\N	{}	{}	{}	gone-user	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.218	\N	2026-11-29 08:50:58.218	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
6a9c790683c924875bf31f49a4040d26d367c52f82cb4995a1947d9a6e1caeed	sk-...0010	\N	f	6	\N	{}	{}	{}	u-twin	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	shared-30d	\N	2026-11-29 08:50:58.221	\N	2026-11-29 08:50:58.221	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
58c63036488eb6850337d23b4059b5000cb49552b85fcd9f4915251dd26c0265	sk-...0011	\N	f	0	\N	{}	{}	{}	\N	team-blocked	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.229	\N	2026-11-29 08:50:58.229	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
6fa2bff3af97d7e27b313f1c6b5f6d08c9b6d22f1b4b2952ba6dd61495347499	sk-...0012	\N	f	2	\N	{}	{}	{}	grace@example.com	\N	{"get_spend_routes": true}	\N	{}	\N	\N	\N	2	30d	2999-01-01 00:00:00	{}	{}	{}	\N	\N	2026-11-29 08:50:58.231	\N	2026-11-29 08:50:58.231	\N	{llm_api_routes}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
cf2b75ba777e71e5506e70076dba54cd0e19d058c29a1302d3f0b8ff903b1a55	sk-...0013	\N	f	0	\N	{no-default-models}	{}	{}	u-twin	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.235	\N	2026-11-29 08:50:58.235	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
a-token-that-is-no-hash	\N	\N	f	0	\N	{}	{}	{}	\N	\N	{}	\N	{}	\N	\N	\N	\N	\N	\N	{}	{}	{}	\N	\N	2026-11-29 08:50:58.24	\N	2026-11-29 08:50:58.24	\N	{}	\N	f	\N	\N	0	\N	\N	{}	{}	{}	\N	\N	\N	{}	\N	\N	\N	0
\.


--
-- PostgreSQL database dump complete
--

\unrestrict NIKJ6dmmpes84xnryQ3WX265hnK4BnY30fxlHAdqvs6uQg9fj4VqLnDedAdPk6U

