"""The pages, in Streamlit: the consortium's (`hansa dashboard`) and an institution's own (`hansa site console`).

| file              | what it holds                                                                  |
|-------------------|--------------------------------------------------------------------------------|
| serving.py        | starts a page behind its gate, on this machine's own address                   |
| gate.py, forms.py | ASGI: who has no session meets the forms, whatever the address                 |
| hub_doors.py      | signing in at the hub                                                          |
| hub.py            | the script that Streamlit runs for the hub's page: who is there, which page    |
| console.py        | the same for a site's console; its views and doors are in at_site/             |
| session.py        | the opened hub, and who is signed in                                           |
| look.py           | colours and letters, light and dark                                            |
| words.py          | times, sizes and other people's text, written so that they can be shown        |
| telling.py        | who learns what, and what protects a person in an answer                       |
| drawing.py        | from an answer to its table and its plot, one function a kind                  |
| views/            | one file a page: a function of (hub, person)                                   |

A view reads through `hansa.hub.queries` and the doors beside it and acts through `hansa.hub.actions` and `accounts`,
after the session has been asked for again; nothing is acted in a callback, because callbacks run before that.
Text that came from a member or a person goes through `words.plain` before it meets Markdown.
"""
