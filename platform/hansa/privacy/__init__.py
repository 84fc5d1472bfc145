"""What an answer may reveal.

disclosure.py   which figures are left out, coarsened or refused; every rule in one place
"""
