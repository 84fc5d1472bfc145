"""The consortium's page, in Streamlit: `hansa dashboard`. It sees what the hub's doors show, and nothing else.

| file              | what it holds                                                                  |
|-------------------|--------------------------------------------------------------------------------|
| hub.py            | the script that Streamlit runs: who is there, which page, sign out             |
| session.py        | the opened hub, and the sign-in: a token that lives in the browser's tab alone |
| words.py          | times, sizes and other people's text, written so that they can be shown        |
| allowed.py        | whether something is for the person who looks, in a sentence if it is not      |
| drawing.py        | from an answer to its table and its plot, one function a kind                  |
| views/sign_in.py  | name and password                                                              |
| views/overview.py | members, open jobs, last answers, the log's size and head                      |
| views/propose.py  | a question, made from a kind's fields, and who would learn what                |
| views/form.py     | one widget for each sort of field                                              |
| views/jobs.py     | the list of jobs                                                               |
| views/job.py      | one job: live while it is open, then its answer                                |
| views/consents.py | who consented to what, and who refused why                                     |
| views/log.py      | the log for its reviewers; views/audit/ holds its parts                        |
| views/tables.py   | what each site says of its tables, and what may be asked over them             |
| views/members.py  | members, fingerprints, the charter and who signed it                           |
| views/budgets.py  | what is left of the tables' privacy budgets, as their owners told it           |
| views/operations.py | for the hub's operator: processes, letters, the line of jobs                 |

A view is a function of (hub, person), and first asks `allowed` whether what it shows is for that person. It reads
through the hub's doors (`queries`, `reviewing`, `verifying`, `comparing`, `consortium`, `tables`, `operating`) and acts
through `actions`, after the session has been asked for again; nothing is acted in a callback, because callbacks run
before that.
Text that came from a member or a person goes through `words.plain` before it meets Markdown.
"""
