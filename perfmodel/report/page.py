"""One HTML page with the answer, its explanation, its picture and its tables; no outside files."""

from __future__ import annotations

import base64
import html
from typing import TYPE_CHECKING

from perfmodel.report import plots, text

if TYPE_CHECKING:
    from perfmodel.result import Result

_STYLE = (
    "body{font:14px/1.45 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd}"
    "pre{white-space:pre-wrap;background:#f6f6f6;padding:1em}img{max-width:100%}"
)


def page(result: Result) -> str:
    """The whole page."""
    varying = any(len(values) > 1 for values in result.axes.values())
    kinds = ["sweep"] if varying else []
    parts = [text.html(result)]
    if result.phases is not None and not varying:
        kinds += ["roofline", "breakdown"]
        parts.append(f"<pre>{html.escape(result.explain())}</pre>")
    for kind in kinds:
        raw = base64.b64encode(plots.render(plots.plot(result, kind), ".png")).decode("ascii")
        parts.append(f'<img alt="{kind}" src="data:image/png;base64,{raw}">')
    parts.append(
        result.table().to_html() if varying else result.breakdown().to_html() if result.phases else ""
    )
    head = f"<meta charset='utf-8'><title>{html.escape(text.title(result))}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"
