"""Settings: environment and one TOML file -> `Settings`. Unknown names are refused; secrets never print.

Environment variables start with GATEWAY_; nested names use two underscores (GATEWAY_SOURCES__GP__BUDGET_S). The TOML file
is named by GATEWAY_CONFIG. There is no switch for policy or audit.
"""

import os
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gateway.errors import StartupRefused

PREFIX = "GATEWAY_"


class Deliver(BaseModel):
    """One `[sources.NAME.deliver.WHAT]`: what other systems may have delivered there, with credentials of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    agreements: list[str] = Field(description="ids of the agreements, one for each organisation that may send")
    options: dict[str, Any] = Field(default_factory=dict, description="the connector's own: database_url, base_url, outbox, ...")


class Tls(BaseModel):
    """Whom we trust at the other end, and who we are to it: mutual TLS as the national networks want it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ca: Path | None = Field(default=None, description="PEM of the authorities to trust; default: the system's")
    certificate: Path | None = Field(default=None, description="PEM of our client certificate and its chain")
    key: Path | None = Field(default=None, description="PEM of the certificate's private key, without a passphrase")

    def context(self, setting: str) -> ssl.SSLContext:
        """These files -> what an HTTP client needs. Raises `StartupRefused` that names the setting: `setting` is ours."""
        if (self.certificate is None) is not (self.key is None):
            missing = "certificate" if self.certificate is None else "key"
            raise StartupRefused(f"{setting}.{missing} is missing: give certificate and key together, or neither")
        for name in ("ca", "certificate", "key"):
            _readable(f"{setting}.{name}", getattr(self, name))
        try:
            made = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (ssl.SSLError, OSError, ValueError):
            raise StartupRefused(f"{setting}.ca cannot be read as PEM certificates of authorities") from None
        if self.certificate is not None and self.key is not None:
            if not _holds_certificates(self.certificate):
                raise StartupRefused(f"{setting}.certificate cannot be read as PEM certificates")
            try:
                made.load_cert_chain(str(self.certificate), str(self.key), password=_no_passphrase)
            except (ssl.SSLError, OSError, ValueError):
                raise StartupRefused(
                    f"{setting}.key cannot be read as PEM without a passphrase, or is not the key of {setting}.certificate"
                ) from None
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        return made


class Source(BaseModel):
    """One `[sources.NAME]`: an adapter pointed at one custodian. Callers see NAME: a kind, never a place."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: str
    custodian: str = Field(description="organisation code of the controller, or 'registered-practice'")
    agreement: str = Field(description="id of the agreement under consent_policy/agreements that lets this source be asked")
    title: str = Field(description="what callers see this source called")
    budget_s: float | None = Field(default=None, gt=0, le=30, description="seconds; default: the manifest's")
    max_age_h: float | None = Field(default=None, gt=0, description="hours after which a delivered copy is stale")
    steward: str = Field(default="", description="who settles this source's work items; default: records of the custodian")
    guardian: str = Field(
        default="", description="who alone settles what was buried with a number; default: Caldicott Guardian of the custodian"
    )
    keep_days: int = Field(default=7, ge=1, description="days a taken or refused file is kept, sealed")
    drift: Literal["report", "refuse"] = Field(default="report", description="what a record with fields that no map knows is")
    tls: Tls | None = Field(default=None, description="mutual TLS of this source; default: the system's trust, no certificate")
    options: dict[str, Any] = Field(default_factory=dict, description="the connector's own: base_url, database_url, drop, ...")
    deliver: dict[str, Deliver] = Field(default_factory=dict, description="what may be delivered there: see below")


class SignIn(BaseModel):
    """How this gateway proves itself to a national API: application-restricted, signed JWT."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token_url: str = Field(description="the API platform's token endpoint; the assertion's audience")
    client_id: str = Field(description="the application's API key: issuer and subject of the assertion")
    key: Path = Field(description="a file with the private RSA key as a JWK (alg RS512, kid as registered)")


class Pds(BaseModel):
    """The tracer: PDS FHIR R4."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    ods: str = Field(description="NHSD-End-User-Organisation-ODS of the organisation that runs this gateway")
    per_second: float = Field(default=5.0, gt=0, description="traces a second, all workers together")
    budget_s: float = Field(default=2.0, gt=0)
    tls: Tls | None = None
    api_key: SecretStr | None = None
    sign_in: SignIn | None = Field(default=None, description="where a token has to be signed for; without api_key")

    @model_validator(mode="after")
    def _one_way_in(self) -> "Pds":
        if self.api_key is not None and self.sign_in is not None:
            raise ValueError("give api_key or sign_in, not both")
        return self


class Sds(BaseModel):
    """The Spine Directory Service, FHIR R4."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    budget_s: float = Field(default=2.0, gt=0)
    tls: Tls | None = None
    api_key: SecretStr | None = None


class Settings(BaseSettings):
    """Everything that can be set. docs/running-it.md documents each name; a test compares."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    mode: Literal["sandbox", "live"] = "sandbox"
    config: Path | None = Field(default=None, description="a TOML file with these same names")
    var: Path = Field(default=Path("var"), description="folder for the embedded database, drops and keys of the sandbox")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    operations_port: int = Field(default=8001, ge=1, le=65535, description="/health, /ready and /metrics")
    base_url: str = Field(default="", description="public base, without trailing slash; default http://host:port")
    database_url: str = Field(default="", description="sqlite:///PATH or postgresql://...; default: embedded, under var")
    keys: Path = Field(default=Path("var/keys"), description="folder with the gateway's secret keys, outside the database")
    name: str = Field(default="shared-care-gateway", description="origin name of this log and of its receipts")
    policy: Path | None = Field(default=None, description="a consent_policy folder of the site; default: the shipped one")
    mappings: Path | None = Field(default=None, description="a mappings folder of the site; default: the shipped one")
    adapters: Path | None = Field(
        default=None, description="a folder of adapter packages under development; refused in live mode"
    )
    pds: Pds
    sds: Sds | None = Field(default=None, description="needed when a source speaks GP Connect")
    sources: dict[str, Source]
    deadline_s: float = Field(default=4.0, gt=0, le=30, description="seconds for one whole answer")
    empty_bucket_ms: int = Field(default=250, ge=50, description="an answer without records leaves at a multiple of this")
    page_bytes: int = Field(default=1_000_000, ge=1_000)
    page_count: int = Field(default=500, ge=1, description="entries a page at most")
    body_bytes: int = Field(default=1_000_000, ge=1_000, description="largest request body")
    client_per_minute: int = Field(default=6_000, ge=1)
    address_per_minute: int = Field(default=12_000, ge=1)
    token_per_minute: int = Field(default=600, ge=1)
    token_s: int = Field(default=300, ge=30, le=300, description="seconds an access token lives")
    trace_fresh_s: int = Field(default=900, description="seconds a stored trace is used without asking again")
    trace_stale_s: int = Field(default=86_400, description="seconds after which a stored trace is never used")
    proxy: str | None = Field(default=None, description="address of the one reverse proxy whose headers are read")

    @field_validator("sources")
    @classmethod
    def _names_fit_ids(cls, sources: dict[str, Source]) -> dict[str, Source]:
        for name in sources:
            if not (name.isascii() and name.replace("-", "").isalnum() and name == name.lower() and len(name) <= 14):
                raise ValueError(
                    "a source's name is at most 14 small letters, digits and hyphens: callers see it in source states"
                )
        return sources

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get("GATEWAY_CONFIG")
        if file:
            Path(file).open().close()  # a file that is named and not there would be passed over. Raises `OSError`
        toml = (TomlConfigSettingsSource(settings_cls, Path(file)),) if file else ()
        # pydantic-settings passes over environment names it does not know: as a source of their own they are refused by name.
        said = {
            name.upper().removeprefix(PREFIX).partition("__")[0].lower() for name in os.environ if name.upper().startswith(PREFIX)
        }
        unknown = InitSettingsSource(settings_cls, dict.fromkeys(said - settings_cls.model_fields.keys(), ""))
        return (init_settings, env_settings, *toml, unknown)

    def public_base(self) -> str:
        """The base of every URL we hand out. Never taken from a request."""
        return self.base_url or f"http://{self.host}:{self.port}"

    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.var / 'gateway.db'}"


def _readable(setting: str, file: Path | None) -> None:
    """Raises `StartupRefused` for a file that is named and cannot be read."""
    if file is None:
        return
    try:
        file.open("rb").close()
    except FileNotFoundError:
        raise StartupRefused(f"{setting} names a file that is not there") from None
    except OSError:
        raise StartupRefused(f"{setting} names a file that may not be read") from None


def _holds_certificates(file: Path) -> bool:
    """Read as authorities would be, only to tell a bad certificate from a bad key."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=str(file))
    except (ssl.SSLError, OSError, ValueError):
        return False
    return True


def _no_passphrase() -> str:
    """OpenSSL would ask for one at the terminal."""
    raise ValueError("a key with a passphrase")
