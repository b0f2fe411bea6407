"""rocketchat_API, the Python client: two sessions of one user, one ended by the other."""

import json
import os
import re
import sys
import traceback
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version

from rocketchat_API.APIExceptions.RocketExceptions import (
    RocketApiException,
    RocketAuthenticationException,
    RocketBadStatusCodeException,
)
from rocketchat_API.rocketchat import RocketChat

URL = os.environ["SESSIOND_TEST_URL"]
USERNAME = os.environ["SESSIOND_TEST_USERNAME"]
PASSWORD = os.environ["SESSIOND_TEST_PASSWORD"]

ID = re.compile(r"[2-9A-HJ-NP-TW-Za-km-z]{17}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
LOGGED_OUT = {"status": "success", "data": {"message": "You've been logged out!"}}
NOT_LOGGED_IN = {"status": "error", "message": "You must be logged in to do this."}
WRONG_PASSWORD = {"success": False, "error": "Unauthorized", "status": "error", "message": "Unauthorized"}
NOT_FOUND = {"success": False, "error": "Session not found"}


@contextmanager
def step(title):
    line = f"rocketchat_API {version('rocketchat_API')}: {title}"
    try:
        yield
    except Exception:
        print(f"not ok {line}", flush=True)
        traceback.print_exc()
        sys.exit(1)
    print(f"ok {line}", flush=True)


def equal(seen, expected):
    assert seen == expected, f"expected {expected!r}, got {seen!r}"


def refused(status, body, call, /, *args, **kwargs):
    try:
        answer = call(*args, **kwargs)
    except (RocketApiException, RocketBadStatusCodeException) as error:
        equal((error.status_code, error.response_json), (status, body))
    else:
        raise AssertionError(f"expected {status}, was answered {answer!r}")


def login():
    client = RocketChat(server_url=URL)
    answer = client.login(USERNAME, PASSWORD)
    data = answer["data"]
    equal((answer["status"], answer["success"]), ("success", True))
    assert ID.fullmatch(data["userId"]) and TOKEN.fullmatch(data["authToken"]), data
    equal((data["me"]["_id"], data["me"]["username"]), (data["userId"], USERNAME))
    return client, data


def sessions(client):
    """The ids listed, newest login first, and the one marked as current."""
    page = client.call_api_get("sessions/list")
    rows = page["sessions"]
    equal((page["success"], page["offset"], page["count"], page["total"]), (True, 0, 50, len(rows)))
    for row in rows:
        assert ID.fullmatch(row["sessionId"]), row
        equal((row["_id"], row["userId"], row["ip"]), (row["sessionId"], client.headers["X-User-Id"], "127.0.0.1"))
        datetime.fromisoformat(row["loginAt"].replace("Z", "+00:00"))
        assert isinstance(row["device"]["name"], str), row
    assert client.headers["X-Auth-Token"] not in json.dumps(page)
    (current,) = [row["sessionId"] for row in rows if row["current"]]
    return [row["sessionId"] for row in rows], current


with step("a wrong password is refused"):
    try:
        RocketChat(USERNAME, PASSWORD + "x", server_url=URL)
    except RocketAuthenticationException:
        pass
    else:
        raise AssertionError("was let in")
    # The same through the generic call, which shows the body.
    body = {"username": USERNAME, "password": PASSWORD + "x"}
    refused(401, WRONG_PASSWORD, RocketChat(server_url=URL).call_api_post, "login", body=body)

with step("logs in twice"):
    (a, data_a), (b, data_b) = login(), login()
    equal(data_a["userId"], data_b["userId"])
    assert data_a["authToken"] != data_b["authToken"]

with step("lists both sessions and knows its own"):
    (from_a, id_a), (from_b, id_b) = sessions(a), sessions(b)
    equal(from_a, from_b)
    equal(from_a[:2], [id_b, id_a])

with step("cannot log out a session that does not exist"):
    refused(400, NOT_FOUND, a.call_api_post, "sessions/logout.me", sessionId="23456789ABCDEFGHJ")

with step("logs out the other session"):
    equal(a.call_api_post("sessions/logout.me", sessionId=id_b), {"sessionId": id_b, "success": True})

with step("the other session is refused"):
    refused(401, NOT_LOGGED_IN, b.call_api_get, "sessions/list")
    refused(401, NOT_LOGGED_IN, b.call_api_post, "sessions/logout.me", sessionId=id_a)
    refused(401, NOT_LOGGED_IN, b.logout)

with step("the other session is no longer listed"):
    listed, current = sessions(a)
    equal(current, id_a)
    assert id_b not in listed, listed

with step("logs itself out"):
    equal(a.logout(), LOGGED_OUT)

with step("is refused afterwards"):
    refused(401, NOT_LOGGED_IN, a.call_api_get, "sessions/list")
    refused(401, NOT_LOGGED_IN, a.logout)

with step("logs out with neither body nor content type"):
    c, _ = login()
    equal(c.call_api_post("logout", use_json=False), LOGGED_OUT)
    refused(401, NOT_LOGGED_IN, c.call_api_get, "sessions/list")
