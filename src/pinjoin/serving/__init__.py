"""A workspace over HTTP: the API, pages for people, and what runs them safely."""

from importlib.util import find_spec

from pinjoin.core.errors import ConfigError

_NEEDED = ("fastapi", "httptools", "orjson", "prometheus_client", "python_multipart", "uvicorn")

if missing := [name for name in _NEEDED if find_spec(name) is None]:
    raise ConfigError(
        f"Serving needs {', '.join(missing)}, which is not installed: pip install 'pinjoin[serve]'."
    )
