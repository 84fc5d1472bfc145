"""One institution's page, beside its data: `hansa site console`. It sees what the site's two doors show and do.

| file        | what it holds                                                                          |
|-------------|----------------------------------------------------------------------------------------|
| doors.py    | sign-in with a person's own passphrase, sessions, back-off; without Streamlit          |
| session.py  | who looks at the page now                                                              |
| signing.py  | the one form that binds: a passphrase for one signature                                |
| asked.py    | a question in words, what a yes means, and who has said one                            |
| letters.py  | what each letter that left means                                                       |
| answer.py   | an answer as its table and plots                                                       |
| paging.py   | long lists, a page at a time                                                           |
| overview.py | how the site stands                                                                    |
| waiting.py  | what waits for a person: consent, refuse, release, exact figures                       |
| jobs.py     | this site's part in each job, and stop                                                 |
| left.py     | what left this site                                                                    |
| tables.py   | its tables, and withdraw                                                               |
| budgets.py  | what noise may still cost                                                              |
| policy.py   | the policy: check, try on earlier questions, save                                      |
| log.py      | its entries in the log, receipts, alarms, sign-off                                     |
| keys.py     | keys, certificates and people, with their age                                          |

A view is a function of (site, person). A session alone decides nothing: each act that binds asks for the passphrase of
the person's key, opens it for that one signature, and forgets it. Text that came from a member or a person goes through
`words.plain` before it meets Markdown.
"""
