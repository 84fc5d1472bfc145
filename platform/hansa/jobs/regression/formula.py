"""Wilkinson's formulas (`y ~ age + C(cp) * sex`), read without evaluating anything in them.

A plain sum of products is split here. Anything more goes through formulaic's grammar; its materialiser, which
evaluates the text of a factor as Python, is never used. In this order: the length, the alphabet (no quote, brace,
bracket, comma or percent sign), the syntax tree, a bound on how many terms the tree can grow into (`a*b*c*…` doubles
with each letter), then the terms. Each factor must match `_FACTOR` exactly, so it is a column or one of a few
functions of one column; what these mean is `design.py`'s own arithmetic. No text of a formula is ever executed.
"""

import re
from functools import lru_cache
from typing import Any

from msgspec import Struct

from hansa.errors import Refused

LONGEST = 500
MOST_TERMS = 256
CATEGORICAL = ("C", "factor")
NUMERIC = ("log", "log2", "log10", "log1p", "exp", "sqrt")

_ALPHABET = re.compile(r"[A-Za-z0-9_.~+\-*:/^() ]*")
_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9][A-Za-z0-9_]*)*"
_NOTHING = re.compile(r"\(\s*\)")
_FACTOR = re.compile(rf"(?:({'|'.join((*CATEGORICAL, *NUMERIC))})\(({_NAME})\)|({_NAME}))")
_SIMPLE = rf"(?:(?:{'|'.join((*CATEGORICAL, *NUMERIC))})\([A-Za-z_][A-Za-z0-9_]*\)|[A-Za-z_][A-Za-z0-9_]*)"
_PRODUCT = rf" *{_SIMPLE}(?: *: *{_SIMPLE})* *"
_SUM = re.compile(rf"(?: *{_SIMPLE} *~)?{_PRODUCT}(?:\+{_PRODUCT})*")
_ALLOWED = f"a column or one of {', '.join((*CATEGORICAL, *NUMERIC))} of a column"


class Factor(Struct, frozen=True):
    """A column, or a function of one (`function` is empty for the column itself)."""

    column: str
    function: str = ""

    @property
    def text(self) -> str:
        return f"{self.function}({self.column})" if self.function else self.column


class Formula(Struct, frozen=True):
    """`terms` are the products of factors beyond the intercept, main effects first, in R's order."""

    outcome: Factor
    intercept: bool
    terms: tuple[tuple[Factor, ...], ...]

    def factors(self) -> tuple[Factor, ...]:
        """Those of the right side, each once, in the order in which they are first named."""
        return tuple(dict.fromkeys(factor for term in self.terms for factor in term))

    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.outcome.column, *(factor.column for factor in self.factors()))))


@lru_cache(maxsize=64)
def parse(text: str, outcome: str = "") -> Formula:
    """`text` with its left side, or without and with `outcome`. Refuses, in a sentence, whatever isn't
    plain."""
    if len(text) > LONGEST:
        raise Refused(f"the formula is longer than {LONGEST} characters")
    if not _ALPHABET.fullmatch(text) or _NOTHING.search(text):
        raise Refused(
            "the formula holds something that none needs: names, + - * : / ^ ~ and ( ) around them are enough"
        )
    left, right = _sides(text)
    if left and outcome and left[0] != ((outcome,),):
        raise Refused("the outcome is named twice, and differently")
    if len(left) > 1 or (left and len(left[0]) != 1):
        raise Refused("the left side of the formula is not one outcome")
    if not left and not outcome:
        raise Refused("the formula has no outcome: write it to the left of ~")
    answer = _factor(left[0][0][0] if left else outcome)
    if answer.function in CATEGORICAL:
        raise Refused(f"the outcome '{answer.text}' is a category; write 0 and 1")
    found = tuple(() if term == ("1",) else tuple(_factor(factor) for factor in term) for term in right)
    terms = sorted((term for term in found if term), key=len)
    formula = Formula(answer, () in found, _ordered(terms))
    if not formula.intercept and not formula.terms:
        raise Refused("the formula has nothing on its right side")
    if answer.column in {factor.column for factor in formula.factors()}:
        raise Refused(f"the outcome '{answer.column}' also stands on the right side of the formula")
    return formula


def _ordered(terms: list[tuple[Factor, ...]]) -> tuple[tuple[Factor, ...], ...]:
    """The factors of each product in the order in which the whole formula first names them, as R has them."""
    place = {factor: index for index, factor in enumerate(dict.fromkeys(f for term in terms for f in term))}
    unique = dict.fromkeys(tuple(sorted(set(term), key=place.__getitem__)) for term in terms)
    return tuple(unique)


def _factor(text: str) -> Factor:
    match = _FACTOR.fullmatch(text)
    if match is None:
        raise Refused(f"the formula holds '{text[:60]}', which is not {_ALLOWED}")
    function, column, plain = match.groups()
    return Factor(column, function) if function else Factor(plain)


Terms = tuple[tuple[str, ...], ...]


def _sides(text: str) -> tuple[tuple[Terms, ...], Terms]:
    """Left side (nothing, or its one set of terms) and right side, as the texts of their factors."""
    return _sum(text) if _SUM.fullmatch(text) else _grammar(text)


def _sum(text: str) -> tuple[tuple[Terms, ...], Terms]:
    """A plain sum of products needs no grammar, and so no process needs the 100 MB that formulaic brings along."""
    left, _, right = text.replace(" ", "").rpartition("~")
    terms = tuple(tuple(dict.fromkeys(term.split(":"))) for term in right.split("+"))
    return ((((left,),),) if left else ()), (("1",), *terms)


def _grammar(text: str) -> tuple[tuple[Terms, ...], Terms]:
    from formulaic.errors import FormulaicError
    from formulaic.parser import DefaultFormulaParser

    parser = DefaultFormulaParser(feature_flags=DefaultFormulaParser.FeatureFlags.TWOSIDED)
    try:
        tree = parser.get_ast(text)
        _grown(tree)
        structure = parser.get_terms(text)._structure
    except (FormulaicError, SyntaxError, ValueError, AttributeError, RecursionError) as error:
        raise Refused("the formula does not parse: write it like  outcome ~ first + second") from error
    if set(structure) not in ({"root"}, {"lhs", "rhs"}):
        raise Refused("the formula does not parse: write it like  outcome ~ first + second")
    right = _texts(structure.get("rhs", structure.get("root")))
    return ((_texts(structure["lhs"]),) if "lhs" in structure else ()), right


def _texts(terms: Any) -> Terms:
    return tuple(tuple(str(factor.expr) for factor in term.factors) for term in terms)


def _grown(node: Any) -> int:
    """No fewer than the terms that a syntax tree becomes; refuses it before it has become them."""
    from formulaic.parser.types import ASTNode

    if not isinstance(node, ASTNode):
        return 1
    symbol, arguments = node.operator.symbol, list(node.args)
    if symbol in ("^", "**"):
        power = str(getattr(arguments[1], "token", ""))
        if power not in ("1", "2", "3"):
            raise Refused("a power in the formula is not 1, 2 or 3")
        grown = _grown(arguments[0]) ** int(power)
    else:
        sizes = [_grown(argument) for argument in arguments]
        product = sizes[0] * sizes[1] if symbol in ("*", ":") and len(sizes) == 2 else 0
        grown = product if symbol == ":" else sum(sizes) + product
    if grown > MOST_TERMS:
        raise Refused(f"the formula grows into more than {MOST_TERMS} terms")
    return int(grown)
