"""What the web is told of the settings."""

from pathlib import Path

from agentstack.settings import Settings, kept_secret
from web.services import WebSettings


def web_settings(settings: Settings, folder: Path, *, read_only: bool) -> WebSettings:
    """Return it, with the secrets that are kept in the data folder."""
    return WebSettings(
        jwt_secret=settings.jwt_secret or kept_secret(folder, "jwt"),
        jwt_seconds=settings.jwt_ttl_seconds,
        cookie_name=settings.cookie_name,
        cookie_secure=settings.cookie_secure,
        allow_signup=settings.allow_signup,
        invite_code=settings.invite_code,
        operator_key=kept_secret(folder, "operator"),
        sign_ins_per_address=settings.sign_ins_per_address,
        sign_ins_per_account=settings.sign_ins_per_account,
        trusted_proxies=settings.trusted_proxies,
        cors_origins=frozenset(settings.cors_origins),
        public_origin=settings.public_origin,
        allowed_hosts=frozenset(settings.allowed_hosts),
        agents_address=str(settings.backend_host) if settings.agents_live_apart else "",
        private_upstreams=settings.private_upstreams,
        read_only=read_only,
        max_agents=settings.max_agents_per_backend,
        max_body=settings.max_body_mib * 1024 * 1024,
        streams_per_user=settings.streams_per_user,
    )
