"""The pages, in Streamlit: the consortium's (`hansa dashboard`), and a site's own (`hansa site console`).

| file              | what it holds                                                                  |
|-------------------|--------------------------------------------------------------------------------|
| hub.py            | the script that Streamlit runs: who is there, which page, sign out             |
| console.py        | the same for a site's console; its views are in at_site/                       |
| session.py        | the opened hub, and the sign-in: a token that lives in the browser's tab alone |
| words.py          | times, sizes and other people's text, written so that they can be shown        |
| telling.py        | who learns what, and what protects a person in an answer                       |
| drawing.py        | from an answer to its table and its plot, one function a kind                  |
| views/sign_in.py  | name and password                                                              |
| views/overview.py | members, open jobs, last answers, the log's size and head                      |
| views/propose.py  | a question, made from a kind's fields, and who would learn what                |
| views/form.py     | one widget for each sort of field                                              |
| views/jobs.py     | the list of jobs                                                               |
| views/job.py      | one job: live while it is open, then its answer                                |
| views/consents.py | who consented to what, and who refused why                                     |
| views/log.py      | the entries of the log, and the check of its links                             |

A view is a function of (hub, person). It reads through `hansa.hub.queries` and acts through `hansa.hub.actions`, after
the session has been asked for again; nothing is acted in a callback, because callbacks run before that.
Text that came from a member or a person goes through `words.plain` before it meets Markdown.
"""
