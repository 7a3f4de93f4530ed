"""moto's S3 server with what S3 promises and moto's threads do not: a put under a condition is one step.

Between moto's look at the condition and its write another thread's write fits; of two writers both would win. Run as
`python moto_atomic.py PORT`; it listens on the loopback only.
"""

import io
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def atomic(application: Application) -> Application:
    """The application with one writing request at a time."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return application(environ, start_response)
        # Read before: a client that stalls must not hold up the others.
        if environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        with lock:
            return list(application(environ, start_response))

    return answer


if __name__ == "__main__":
    application = atomic(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
