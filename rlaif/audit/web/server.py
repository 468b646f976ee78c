"""A page server on this machine: its port, its templates and files, and the sentence where it cannot start.

Shared by the audit app and the labelling pages. Knows no page.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlaif.errors import InputError
from rlaif.report.wording import show_plain, show_untrusted

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from rlaif.audit.web.guard import Door

HERE = Path(__file__).parent
Handlers = Mapping[Any, Callable[..., Any]]
AUDIT, REPORT = HERE.parent, HERE.parents[1] / "report"
STYLES = {"page.css": REPORT / "page.css", "screen.css": AUDIT / "screen.css"}
"""The report's style; what pages add to it is in the folder `static`."""
INSTALL = 'install it by `pip install "rlaif-pipeline[ui]"`, in a clone by `pip install -e ".[ui]"`'


def require_installed() -> None:
    """Refuse where the packages of the pages are missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(f"pages need the package {error.name}, which is not installed", fix=INSTALL) from error


def bind(host: str, port: int) -> socket.socket:
    """A socket on that port; 0: any free one. Refused in a sentence where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise InputError(
            f"port {port} of {host} cannot be opened ({error.strerror})",
            where="--port",
            fix="another program may have it: give another --port, or 0 for any free one",
        ) from error
    opened.listen(64)
    return opened


def serve(routes: Sequence[BaseRoute], *, handlers: Handlers, opened: socket.socket, door: Door) -> None:
    """Answer until interrupted. handlers: the pages of errors, by kind of error or status."""
    import uvicorn

    app = make_app(routes, handlers=handlers, door=door)
    config = uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, proxy_headers=False, ws="none", lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[opened])


def make_app(routes: Sequence[BaseRoute], *, handlers: Handlers, door: Door) -> ASGIApp:
    """The app of these pages behind its guard."""
    from starlette.applications import Starlette

    from rlaif.audit.web.guard import Guard

    return Guard(Starlette(routes=[*routes, *static_routes()], exception_handlers=handlers), door=door)


def static_routes() -> list[BaseRoute]:
    """Style and script, by their names alone: no path of a request reaches the disk."""
    from starlette.responses import Response
    from starlette.routing import Route

    files = {f"static/{name}": (path, "text/css") for name, path in STYLES.items()}
    for suffix, kind in (("css", "text/css"), ("js", "text/javascript"), ("svg", "image/svg+xml")):
        files |= {f"static/{path.name}": (path, kind) for path in (HERE / "static").glob(f"*.{suffix}")}

    def answer(path: Path, kind: str) -> Callable[[Request], Response]:
        return lambda request: Response(path.read_bytes(), media_type=kind)

    return [Route(f"/{name}", answer(*found)) for name, found in files.items()]


class Pages:
    """Templates with escaping on, and the filters that make untrusted text harmless."""

    def __init__(self, **shared: Any) -> None:
        """shared: what every template is given."""
        self._environment = Environment(
            loader=FileSystemLoader([HERE / "templates", AUDIT, REPORT]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["untrusted"] = show_untrusted
        self._environment.filters["plain"] = show_plain
        self._environment.filters["zip_self"] = lambda names: [(name, name) for name in names]
        self._environment.globals.update(shared)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        from starlette.responses import HTMLResponse

        text = self._environment.get_template(template).render(**values)
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status_code=status)


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form that was sent; of several of one name the last."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=50))
    except ValueError as error:
        raise InputError("the form has more fields than a form of these pages", fix="reload the page") from error
