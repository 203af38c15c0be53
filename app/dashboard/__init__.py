"""The dashboard: one page, its scripts and its style, which speak with `/api/v1` as any other program does.

    static/index.html   the page; everything else is loaded by it
    static/main.js      which view is shown, by what stands behind `#` in the address
    static/*.js         one view each, or what views share; modules of the browser, nothing is built
    static/style.css    light and dark, wide and narrow

In: the files beside this one. Out: their bytes, and the policy under which a browser shows them: nothing from
elsewhere, no script or style within a page. May import: nothing of ours.
"""

from app.dashboard.assets import POLICY, Asset, Assets

__all__ = ["POLICY", "Asset", "Assets"]
