"""The consortium's page, in Streamlit: `hansa dashboard`. It sees what the hub's doors show, and nothing else.

| file               | what it holds                                                                  |
|--------------------|--------------------------------------------------------------------------------|
| hub.py             | the script that Streamlit runs: who is there, which page, sign out             |
| session.py         | the opened hub, and the sign-in: a token that lives in the browser's tab alone |
| refreshing.py      | whether a part of a page that refreshes itself may go on                       |
| words.py           | times, sizes and other people's text, written so that they can be shown        |
| telling.py         | where a job is and how long it may take, in sentences                          |
| lanes.py           | what the hub and each site were doing when                                     |
| drawing/           | from an answer to its table and plots, one function a kind; a job's timeline   |
| files.py           | an answer as CSV and Parquet, a plot as PNG and SVG                            |
| methods.py         | what a kind computes, in words, with its formula and its source                |
| report.py paper.py | an answer as one HTML file to print; a document that asks nobody for anything  |
| views/sign_in.py   | name and password                                                              |
| views/overview.py  | what needs somebody, open jobs, last answers, members, the log                 |
| views/propose.py   | a question, made from a kind's fields, and who would learn what                |
| views/form.py      | one widget for each sort of field                                              |
| views/jobs.py      | the list of jobs, filtered, a page at a time                                   |
| views/job.py       | one job: live.py while it is open, then answer.py, verifying.py, told.py       |
| views/consents.py  | who consented to what, and who refused why                                     |
| views/log.py       | the entries of the log, and the check of its links                             |

A view is a function of (hub, person). It reads through `hansa.hub.queries` and `looking`, and acts through
`hansa.hub.actions`, after the session has been asked for again; nothing is acted in a callback, because callbacks run
before that. Text that came from a member or a person goes through `words.plain` before it meets Markdown.
"""
