"""The pages, in Streamlit: the consortium's (`hansa dashboard`) and an institution's own (`hansa site console`).

| file               | what it holds                                                                 |
|--------------------|-------------------------------------------------------------------------------|
| serving.py         | starts a page behind its gate, on this machine's own address                  |
| gate.py forms.py   | ASGI: who has no session meets the forms, whatever the address                |
| hub_doors.py       | signing in at the hub; oidc.py at an identity provider                        |
| hub.py             | the script that Streamlit runs for the hub's page: who is there, which page   |
| console.py         | the same for a site's console; its views and doors are in at_site/            |
| session.py         | the opened hub, and who is signed in                                          |
| refreshing.py      | whether a part of a page that refreshes itself may go on                      |
| look.py            | colours and letters, light and dark                                           |
| words.py           | times, sizes and other people's text, written so that they can be shown       |
| allowed.py         | whether something is for the person who looks, in a sentence if it is not     |
| telling.py         | who learns what, and what protects a person in an answer                      |
| whereabouts.py     | where a job is and how long it may take, in sentences; lanes.py who did what  |
| drawing/           | from an answer to its table and plots, one function a kind; a job's timeline  |
| files.py           | an answer as CSV and Parquet, a plot as PNG and SVG                           |
| methods.py         | what a kind computes, in words, with its formula and its source               |
| report.py paper.py | an answer as one HTML file to print; a document that asks nobody for anything |
| views/             | one file a page of the hub's: a function of (hub, person); audit/ of the log  |

A view first asks `allowed` whether what it shows is for the person. It reads through the hub's doors (`queries`,
`looking`, `reviewing`, `verifying`, `comparing`, `consortium`, `tables`, `operating`, `estimating`) and acts through
`actions` and `accounts`, after the session has been asked for again; nothing is acted in a callback, because callbacks
run before that.
Text that came from a member or a person goes through `words.plain` before it meets Markdown.
"""
