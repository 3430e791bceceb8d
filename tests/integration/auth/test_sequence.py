"""The sequences that scripts and Terraform run against a new installation (contract, auth-and-rbac §1.15)."""

from tests.integration.auth.conftest import BOOTSTRAP, Plane, basic


async def test_login_change_password_token_and_logout(plane: Plane):
    session = await plane.login("admin", BOOTSTRAP)
    changed = await plane.request(
        "POST",
        "/v3/users?action=changepassword",
        {"currentPassword": BOOTSTRAP, "newPassword": "another password"},
        credential=session,
    )
    assert changed.status == 200, changed.body
    again = await plane.login("admin", "another password")
    refused = await plane.request(
        "POST", "/v1-public/login", {"type": "localProvider", "username": "admin", "password": BOOTSTRAP}
    )
    assert refused.status == 401
    created = await plane.request("POST", "/v3/tokens", {"type": "token", "ttl": 0}, credential=again)
    assert created.status == 201
    key = created.json()["token"]
    listed = await plane.request("GET", "/v3/tokens", credential=f"Bearer {key}")
    current = [row for row in listed.json()["data"] if row["current"]]
    assert [row["id"] for row in current] == [key.split(":")[0]]
    assert all(row["token"] == "" for row in listed.json()["data"])
    out = await plane.request("POST", "/v1/logout", credential=again)
    assert out.status == 200
    # back, for the tests that share this server
    back = {"currentPassword": "another password", "newPassword": BOOTSTRAP}
    assert (
        await plane.request(
            "POST", "/v3/users?action=changepassword", back, credential=basic(*key.split(":"))
        )
    ).status == 200
