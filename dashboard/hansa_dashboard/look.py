"""Colours, letters and spaces of both pages, in light and dark. The forms before them have `forms.css`."""

from collections.abc import Mapping
from typing import Any

LOOK: Mapping[str, Any] = {
    f"theme.{name}": value
    for name, value in {
        "baseRadius": "0.3rem",
        "headingFontSizes": ["1.9rem", "1.45rem", "1.15rem"],
        "headingFontWeights": [650, 600, 600],
        "metricValueFontSize": "1.6rem",
        "paddingTop": "3rem",
        "showWidgetBorder": True,
        "light.primaryColor": "#0f5e7a",
        "light.linkColor": "#0f5e7a",
        "light.backgroundColor": "#ffffff",
        "light.secondaryBackgroundColor": "#f2f5f7",
        "light.textColor": "#16242c",
        "light.borderColor": "#d5dde2",
        "light.sidebar.backgroundColor": "#eaf0f3",
        "dark.primaryColor": "#2a7f9e",
        "dark.linkColor": "#6fc3de",
        "dark.backgroundColor": "#10181d",
        "dark.secondaryBackgroundColor": "#1a252c",
        "dark.textColor": "#e3eaee",
        "dark.borderColor": "#2e3d46",
        "dark.sidebar.backgroundColor": "#0b1216",
    }.items()
}
