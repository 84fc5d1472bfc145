"""What an operator sets for the hub's page: `[page]` of hub.toml."""

from pathlib import Path

from msgspec import Struct

from hansa.errors import Refused


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """An identity provider (OpenID Connect). `secret_file`: where our secret there lies, beside hub.toml or absolute;
    `name` is for people."""

    issuer: str
    client_id: str
    secret_file: str
    name: str = "your institution"


class Page(Struct, frozen=True, forbid_unknown_fields=True):
    """`url`: under which address people reach the page, if a web server with TLS stands before it."""

    url: str = ""
    provider: Provider | None = None

    def check(self) -> None:
        if self.url and not (self.url.startswith("https://") and self.url.count("/") <= 3):
            raise Refused("hub.toml: 'page.url' is https:// and a name, and perhaps a port")

    def secret(self, home: Path) -> str:
        """Ours at the identity provider."""
        if self.provider is None:
            raise ValueError("no identity provider is set")
        try:
            return (home / self.provider.secret_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Refused(f"the secret of the identity provider can't be read: {error}") from error
