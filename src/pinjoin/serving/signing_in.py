"""The page on which people give a key once, where pages need one: kept as a cookie."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pinjoin.serving.security import COOKIE, SIGN_IN, Gate

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in · pinjoin</title><link rel="stylesheet" href="{base}/static/base.css">
<main class="sign-in"><h1>Sign in</h1><p>{note}</p>
<form method="post" action="{base}/sign-in"><label>Key
<input name="key" type="password" autocomplete="current-password" required autofocus></label>
<button>Sign in</button></form></main>
"""
_NOTE, _WRONG = "This server needs a key to be looked at.", "This key is not known here."


def make_sign_in(gate: Gate) -> APIRouter:
    """Its routes."""
    router = APIRouter(include_in_schema=False)

    @router.get(SIGN_IN)
    async def ask(request: Request) -> Response:
        return HTMLResponse(_PAGE.format(base=request.scope.get("root_path", ""), note=_NOTE))

    @router.post(SIGN_IN)
    async def sign_in(request: Request, key: Annotated[str, Form(max_length=1_000)]) -> Response:
        base = request.scope.get("root_path", "")
        if not gate.accepts(key):
            return HTMLResponse(_PAGE.format(base=base, note=_WRONG), 403)
        answer = RedirectResponse(f"{base}/", 303)
        answer.set_cookie(
            COOKIE, key, max_age=30 * 86_400, httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return answer

    return router
