"""The pages before the page: plain HTML without a script, for who has no session yet."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

from starlette.responses import Response

SIGN_IN, WELCOME = "/sign-in", "/welcome"
_HERE = Path(__file__).parent
ASSETS: Mapping[str, tuple[str, str]] = {
    "/sign-in/look.css": ("forms.css", "text/css"),
    "/sign-in/logo.svg": ("logo.svg", "image/svg+xml"),
    "/sign-in/mark.svg": ("mark.svg", "image/svg+xml"),
}

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="/sign-in/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="/sign-in/look.css">
$head</head>
<body>
<main>
<img src="/sign-in/logo.svg" alt="Hansa" width="128" height="32">
$body
</main>
</body>
</html>
""")


class Field(NamedTuple):
    """`sort` is the type of an HTML input, `fills` what a browser may fill in by itself (`autocomplete`)."""

    name: str
    label: str
    sort: str = "text"
    fills: str = "off"
    needed: bool = True
    told: str = ""


class Form(NamedTuple):
    """`link` is how the other forms call this one."""

    title: str
    about: str
    fields: Sequence[Field]
    button: str
    link: str
    foot: str = ""


def html(path: str, form: Form, others: Mapping[str, str], wrong: str = "") -> str:
    body = [f"<h1>{escape(form.title)}</h1>", f"<p>{escape(form.about)}</p>"]
    if wrong:
        body.append(f'<p class="wrong" role="alert">{escape(_sentence(wrong))}</p>')
    body.append(f'<form method="post" action="{escape(path)}">')
    body += [_input(field) for field in form.fields]
    body += [f"<button>{escape(form.button)}</button>", "</form>"]
    if others:
        body.append("<nav>")
        body += [f'<a href="{escape(other)}">{escape(link)}</a>' for other, link in others.items()]
        body.append("</nav>")
    if form.foot:
        body.append(f'<p class="foot">{escape(form.foot)}</p>')
    return _PAGE.substitute(title=escape(form.title), head="", body="\n".join(body))


def onward(to: str) -> str:
    """Goes on to an address of ours, without a script."""
    head = f'<meta http-equiv="refresh" content="0; url={escape(to)}">\n'
    return _PAGE.substitute(title="Hansa", head=head, body=f'<p><a href="{escape(to)}">Go on</a></p>')


def asset(path: str) -> Response:
    file, sort = ASSETS[path]
    return Response((_HERE / file).read_bytes(), media_type=sort)


def _input(field: Field) -> str:
    needed = " required" if field.needed else ""
    told = f' aria-describedby="{field.name}-told"' if field.told else ""
    parts = [
        f'<label for="{field.name}">{escape(field.label)}</label>',
        f'<input id="{field.name}" name="{field.name}" type="{field.sort}" autocomplete="{field.fills}"'
        f' spellcheck="false" autocapitalize="none"{needed}{told}>',
    ]
    if field.told:
        parts.append(f'<small id="{field.name}-told">{escape(field.told)}</small>')
    return "\n".join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
