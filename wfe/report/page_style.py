"""The look of the page of a run: one style sheet, light and dark, for screens and paper. Knows class names only.

A state is told by its word wherever it has a colour, since colours alone are no use to everyone. Text has a contrast of
at least 4.5 to 1 on its ground in both schemes (WCAG 2.2, 1.4.3).
"""

STYLE = (
    """
:root{--ground:#fbfbfa;--card:#fff;--ink:#1d2126;--soft:#5a626c;--line:#dfe2e6;--code:#f2f3f5;
--ran:#1f6fb5;--restored:#6a4fb3;--current:#6b7480;--skipped:#946300;--failed:#c02b2b;--blocked:#a8501b;
--cancelled:#7b5a5a;--unfinished:#7b5a5a;--good:#1d7a3e}
@media (prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1b1f23;--ink:#e4e7ea;--soft:#a3abb5;--line:#30363d;
--code:#23282e;--ran:#6cb2f0;--restored:#b39df0;--current:#9aa4af;--skipped:#e0b04c;--failed:#ff8078;--blocked:#f0a070;
--cancelled:#cfa9a9;--unfinished:#cfa9a9;--good:#63c987}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.1rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .6rem}
p{margin:.3rem 0}.what{color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
.verdict{font-weight:600}.good{color:var(--good)}.bad{color:var(--failed)}
section{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:1rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}summary h2{display:inline}
:focus-visible{outline:2px solid var(--ran);outline-offset:2px}
.parts{display:flex;gap:2px;height:8px;margin:1rem 0}.part{min-width:4px;border-radius:2px}
pre,code{font:13px/1.45 ui-monospace,monospace}
pre{background:var(--code);border-radius:6px;padding:.7rem;margin:.5rem 0;overflow:auto;max-height:32rem}
code{background:var(--code);border-radius:3px;padding:0 .25em;overflow-wrap:anywhere}
.failures{border-left:4px solid var(--failed)}.failures details+details{margin-top:.8rem}
.chart{margin-top:.8rem}.row{display:flex;align-items:center;gap:.6rem;min-height:1.45rem;font-size:.85rem}
.name{flex:0 0 11rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.lane{flex:1 1 auto;position:relative;height:.9rem;border-left:1px solid var(--line);border-right:1px solid var(--line)}
.took{flex:0 0 5.5rem;text-align:right;color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{position:absolute;top:0;bottom:0;min-width:2px;border-radius:2px}
.axis{color:var(--soft)}.axis .lane{border-color:transparent}
.axis .lane span{position:absolute;transform:translateX(-50%);white-space:nowrap;font-size:.75rem}
.axis .lane span:first-child{transform:none}.axis .lane span:last-child{transform:translateX(-100%)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line)}
tbody tr:last-child>*{border-bottom:0}tbody th{font-weight:500;overflow-wrap:anywhere;min-width:8rem}
thead th{color:var(--soft);font-weight:500}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
a{color:inherit}.state{font-weight:600}
.notes{list-style:none;margin:0;padding:0}.notes pre{white-space:pre-wrap;margin:.2rem 0 .6rem}
"""
    + "".join(
        f".state.{state}{{color:var(--{state})}}.part.{state},.bar.{state}{{background:var(--{state})}}\n"
        for state in (
            "ran",
            "restored",
            "current",
            "skipped",
            "failed",
            "blocked",
            "cancelled",
            "unfinished",
        )
    )
    + """
@media (max-width:40rem){.name{flex-basis:6rem}.took{flex-basis:4.5rem}.axis .lane span:nth-child(even){display:none}}
@media (forced-colors:active){.part,.bar{background:CanvasText;forced-color-adjust:none}}
@media print{section{break-inside:avoid;border-color:#999}pre{max-height:none;white-space:pre-wrap}}
"""
)
