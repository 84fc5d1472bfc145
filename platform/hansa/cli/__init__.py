"""The command `hansa`: where the program is put together. Each file holds one group of subcommands.

    local.py       a whole consortium on this machine        hub.py, site.py   one side, as in production
    job.py         ask, watch, cancel                        audit.py          the log, and replay; with verifying.py,
                                                             showing.py, documents.py: an export, offline
    founding.py    a hub's home, kits                        joining.py        a site's home, joining
    charter.py     draft, sign, show, change the charter
    demo.py        four hospitals                            dashboard.py      the page; console.py a site's
    consortium.py  CONSORTIUM.toml and the processes it means                  printing.py   answers as text

Only this package may import both hansa.hub and hansa_site. Nothing heavy is imported before a subcommand needs it.
"""

import errno
import sys

import typer

from hansa.cli import audit, charter, demo, founding, hub, job, joining, local, site
from hansa.cli.page import dashboard
from hansa.errors import NotEnoughSites, ProtocolViolation, Refused

app = typer.Typer(
    name="hansa",
    help="Institutions that may not show each other their data compute together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(local.app, name="local")
app.add_typer(hub.app, name="hub")
app.add_typer(site.app, name="site")
app.add_typer(job.app, name="job")
app.add_typer(audit.app, name="audit")
app.add_typer(charter.app, name="charter")
app.command()(demo.demo)
hub.app.command("init")(founding.init)
hub.app.command("fingerprint")(founding.show_fingerprint)
hub.app.command("protect-keys")(founding.protect_keys)
hub.app.command("rewrap-keys")(founding.rewrap_keys)
hub.app.command("broker-rules")(founding.broker_rules)
hub.app.command("renew")(founding.renew)
hub.app.command("new-keys")(founding.new_keys)
site.app.command("init")(joining.init)
site.app.command("fingerprint")(joining.show_fingerprint)
site.app.command("protect-keys")(joining.protect_keys)
site.app.command("rewrap-keys")(joining.rewrap_keys)
site.app.command("kit")(founding.kit)
site.app.command("join")(joining.join)
site.app.command("add-table")(joining.add_table)
site.app.command("new-keys")(joining.new_keys)
app.command()(dashboard)


_OF_THE_MACHINE = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE, errno.EPIPE)


def main() -> None:
    """One of our three errors becomes one sentence and exit code 2; anything else is a bug and shows as one."""
    try:
        app()
    except (Refused, NotEnoughSites, ProtocolViolation) as error:
        from hansa.verify.findings import printable

        sys.stderr.write(f"hansa: {printable(str(error))}\n")  # it may name what stands in somebody else's file
        sys.exit(2)
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(f"hansa: {error.strerror}{where}\n")
        sys.exit(1)
