"""Settings that we will not start with, each refused in a line that names the setting and never its value."""

from collections.abc import Mapping

from gateway.adapter import Manifest
from gateway.errors import StartupRefused
from gateway.settings import Settings


def refuse_unfit(settings: Settings) -> None:
    """Raises `StartupRefused` for settings that may not serve real people."""
    if settings.mode != "live":
        return
    if settings.adapters is not None:
        raise StartupRefused(
            "GATEWAY_MODE is live: unset GATEWAY_ADAPTERS; an adapter that serves people is installed as a package"
        )
    if not settings.public_base().startswith("https://") and settings.proxy is None:
        raise StartupRefused(
            "GATEWAY_MODE is live: set GATEWAY_BASE_URL to an https address, or GATEWAY_PROXY to the proxy that ends TLS"
        )
    for name, url in [
        ("pds.base_url", settings.pds.base_url),
        ("pds.sign_in.token_url", settings.pds.sign_in.token_url if settings.pds.sign_in else "https:"),
        ("sds.base_url", settings.sds.base_url if settings.sds else "https:"),
    ]:
        if not url.startswith("https:"):
            raise StartupRefused(f"GATEWAY_MODE is live: {name} must be an https address, not a simulator")
    for name, source in settings.sources.items():
        places = [
            ("options", source.options),
            *((f"deliver.{what}.options", held.options) for what, held in source.deliver.items()),
        ]
        for place, option, value in ((place, option, value) for place, options in places for option, value in options.items()):
            if isinstance(value, str) and value.strip().lower().startswith("http://"):
                raise StartupRefused(
                    f"GATEWAY_MODE is live: sources.{name}.{place}.{option} must be an https address, not a simulator"
                )


def refuse_without_directory(settings: Settings, manifests: Mapping[str, Manifest]) -> None:
    """Raises `StartupRefused` for a source that looks practices up: without SDS it would find none and look empty."""
    for name, source in settings.sources.items():
        if source.adapter in manifests and manifests[source.adapter].needs_directory:
            raise StartupRefused(f"sources.{name} looks practices up in SDS: give [sds] with sds.base_url")
