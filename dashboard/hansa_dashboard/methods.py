"""What a kind computes, in words, with its formula and its source: for a printed report."""

from collections.abc import Mapping
from typing import Any, Final

from hansa.jobs import KINDS
from hansa.jobs.exhibit import Method
from hansa.plan import Noise

SECURE_SUM: Final = Method(
    "Every step adds up one vector a site. Each site hides its own under masks that cancel only in the total over the "
    "sites that take part to the end; the hub opens that total and no single vector.",
    (),
    (
        "Bonawitz et al., Practical Secure Aggregation (CCS 2017)",
        "Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic Overhead (CCS 2020)",
        "Ma et al., Flamingo (S&P 2023)",
    ),
)
GAUSSIAN: Final = Method(
    "Each site adds a share of discrete Gaussian noise to its numbers before they are masked. The shares of the sites "
    "that are sure to be in the total and honest suffice for the (ε, δ) above; the shares of the others are noise on "
    "top. What an answer costs is counted as ρ of zero-concentrated differential privacy and adds up over answers.",
    (),
    (
        "Kairouz, Liu and Steinke, The Distributed Discrete Gaussian Mechanism (ICML 2021), Proposition 14",
        "Bun and Steinke (TCC 2016) for ρ",
        "Canonne, Kamath and Steinke (NeurIPS 2020), Proposition 12, from ρ to (ε, δ)",
    ),
)
_BINS: Final = (
    "Rows are counted in intervals of one width, in one total. An interval holds its left edge and not its right one, "
    "but for the last, which holds both. Rows below, above and without a number are counted apart."
)
_EDGES: Final = ("count(i) = number of rows with edge(i) ≤ x < edge(i+1)",)
_HISTOGRAM: Final = Method(
    f"{_BINS} Where no range was given, one was found that shows nobody's extreme value: from coarse counts over "
    "all that the magnitude allows, from the first to the last cell at which, coming from outside, 10 rows have "
    "been met.",
    _EDGES,
)
_TABLE: Final = Method(
    "Rows are counted by their category, or by their pair of categories. Categories are those that the institutions or "
    "the plan declare, or those that occur at all. Independence of two columns is tested by Pearson's chi-squared "
    "without continuity correction, where no count is left out, rounded or under noise, and no category is empty. "
    "Where it was asked, two by two have their odds ratio with Woolf's interval and Fisher's exact test. Over strata "
    "the common odds ratio is Mantel and Haenszel's, its interval that of Robins, Breslow and Greenland, and its test "
    "has a continuity correction.",
    (
        "χ² = Σ (observed − expected)² / expected",
        "expected = row total · column total / n",
        "df = (rows − 1)(columns − 1)",
    ),
    (
        "Mantel and Haenszel, Statistical aspects of the analysis of data from retrospective studies of disease (1959)",
        "Robins, Breslow and Greenland, Estimators of the Mantel-Haenszel variance (1986)",
        "Woolf, On estimating the relation between blood group and disease (1955)",
    ),
)
_SUMMARY: Final = Method(
    "Four steps: magnitudes, sums, spreads, moments. The variance comes from the moments about a centre that an "
    "earlier step found, with the finest precision that the spread allows. Quantiles are not read from sorted rows: "
    "secure histograms narrow down a bracket in which each lies and which holds at least 10 rows, or all. The "
    "least and the largest number are rows of somebody, and are not shown.",
    ("mean = c + Σ(x − c) / n", "variance = (Σ(x − c)² − (Σ(x − c))² / n) / (n − 1)"),
    ("Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983): shifted data",),
)
_REGRESSION: Final = Method(
    "A generalised linear model, fitted by Fisher scoring on totals: each iteration adds up the score, the information "
    "matrix and the deviance at the coefficients so far, over all rows that miss no value. It has settled when the "
    "Newton decrement is at most 1e-18, or what rounding leaves of it. The fit is that on the pooled rows; standard "
    "errors come from the inverse information.",
    ("β ← β + I(β)⁻¹ U(β)", "U(β) = Xᵀ(y − μ) and I(β) = Xᵀ W X, with the canonical link of the family"),
    ("Boyd and Vandenberghe, Convex Optimization (2004), section 9.5.1, for the decrement",),
)
_FAMILIES: Final[Mapping[str, str]] = {
    "gaussian": " Family gaussian, identity link: intervals and p are of Student's t with the residual df.",
    "binomial": " Family binomial, logit link: intervals and p are normal (Wald).",
    "poisson": " Family Poisson, log link: intervals and p are normal (Wald).",
    "gamma": " Family gamma, log link, dispersion of Pearson: intervals and p are of Student's t with the residual df.",
}
_ROBUST: Final = Method(
    " Standard errors are robust ones (HC0): they hold whatever the variance of the outcome is.",
    ("V = A⁻¹ B A⁻¹, with A the information and B = Xᵀ diag(r²) X",),
    ("White, A Heteroskedasticity-Consistent Covariance Matrix Estimator (Econometrica 1980)",),
)
METHODS: Final[Mapping[str, Method]] = {
    "histogram": _HISTOGRAM,
    "table": _TABLE,
    "summary": _SUMMARY,
    "glm": _REGRESSION,
}
_COUNTS_UNDER_NOISE: Final = (
    " Under noise there is one total, in which a row adds 1 to exactly one cell, whatever it holds; what is missing, "
    "or beyond the declared range or categories, has a cell too. Counts are rounded to whole numbers, and may be below "
    "zero."
)
_UNDER_NOISE: Final[Mapping[str, Method]] = {
    "histogram": Method(_BINS + _COUNTS_UNDER_NOISE, _EDGES),
    "table": Method(_TABLE.text + _COUNTS_UNDER_NOISE),
    "summary": Method(
        "One total: counts, two moments and a histogram of 64 cells of each column over its declared range; a number "
        "beyond the range counts as its end. Standard errors are those of the noise, by the delta method. A quantile's "
        "bracket ends where the noisy count of the rows below differs from what the quantile needs by three standard "
        "deviations of the noise.",
        (
            "z = (x − middle) / half of the range",
            "mean = middle + half · Σz / n",
            "variance = half² · (Σz² − (Σz)²/n) / (n − 1)",
        ),
    ),
    "gaussian": Method(
        "Linear regression by noisy sufficient statistics: one total of the products of all columns and the outcome, "
        "each scaled into its declared range. Standard errors add up what sampling and what the noise leave uncertain.",
        ("β = A⁻¹ b, with A = Xᵀ X and b = Xᵀ y as they come out with noise",),
    ),
    "binomial": Method(
        "Logistic regression by a number of noisy Newton steps that is fixed beforehand, so that when it stops tells "
        "nothing. Columns are scaled into their declared ranges. Standard errors add up what sampling and what the "
        "noise leave uncertain.",
        ("β ← β + I(β)⁻¹ U(β), score and information with noise",),
    ),
}


def method(kind: str, answer: Mapping[str, Any], noise: Noise | None) -> Method | None:
    """As ours are told here, or as the kind itself tells it; None of one that isn't installed."""
    family = str(answer.get("family", ""))
    if noise is not None:
        return _UNDER_NOISE.get(family if kind == "glm" else kind)
    found = METHODS.get(kind)
    if found is None:
        return KINDS[kind].method if kind in KINDS else None
    if kind != "glm":
        return found
    robust = _ROBUST if answer.get("errors") == "robust" else Method("")
    text = found.text + _FAMILIES.get(family, "") + robust.text
    return Method(text, (*found.formulas, *robust.formulas), (*found.sources, *robust.sources))
