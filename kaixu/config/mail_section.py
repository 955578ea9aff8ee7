"""The section `mail:` of kaixu.yaml."""

from __future__ import annotations

from email.utils import getaddresses, parseaddr
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from .addresses import mail_address
from .values import Number, Section, Whole

#: The port of each kind of encryption, where none is given.
PORTS = {"starttls": 587, "implicit": 465, "none": 25}


MailAddress = Annotated[str, AfterValidator(mail_address), Field(max_length=254)]


class MailSection(Section):
    """How mails are sent."""

    host: str = Field(
        min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._:-]+$", description="the name of the SMTP server"
    )
    port: Whole | None = Field(
        default=None, ge=1, le=65535, description="its port; default: 587 for `starttls`, 465 for `implicit`, 25 else"
    )
    tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="`starttls`: begin in the clear and encrypt before the login; `implicit`: encrypt from the start; "
        "`none`: no encryption, without a password only",
    )
    ca_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=400,
        description="a file with the certificate authorities of the server, where it is not a public one",
    )
    user: str | None = Field(default=None, min_length=1, max_length=320, description="the name for the login")
    password: SecretStr | None = Field(
        default=None, min_length=1, max_length=1000, description="its password, as `${SMTP_PASSWORD}`"
    )
    sender: str = Field(
        alias="from",
        max_length=320,
        description="who the mails are from: `gateway@example.com`, or `Example <gateway@example.com>`",
    )
    reply_to: MailAddress | None = Field(default=None, description="where replies go; default: to the sender")
    timeout_s: Annotated[float, Number, Field(ge=1, le=300)] = Field(
        default=30, description="how long one mail may take, in seconds"
    )

    @field_validator("sender")
    @classmethod
    def is_a_sender(cls, value: str) -> str:
        """An address, with or without a name."""
        name, address = parseaddr(value)
        mail_address(address)
        if not value.isprintable() or len(getaddresses([value])) != 1 or (name and "<" not in value):
            raise ValueError("must be an address as gateway@example.com, or Example <gateway@example.com>")
        return value

    @model_validator(mode="after")
    def keeps_its_password(self) -> MailSection:
        """A login needs both parts, and encryption, except on this machine."""
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` belong together")
        if self.tls == "none" and self.password is not None and not is_this_machine(self.host):
            raise ValueError("`tls: none` would send the password in the clear: use `starttls` or `implicit`")
        return self

    @property
    def server_port(self) -> int:
        """The port to connect to."""
        return PORTS[self.tls] if self.port is None else self.port

    @property
    def sender_address(self) -> str:
        """The address in `sender`."""
        return parseaddr(self.sender)[1]

    @property
    def sender_name(self) -> str:
        """The name in `sender`; may be empty."""
        return parseaddr(self.sender)[0]


def is_this_machine(host: str) -> bool:
    """Whether `host` is a loopback address."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
