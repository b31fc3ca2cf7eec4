from __future__ import annotations

import pytest

from audit_lab.masking import excerpt, mask_text


@pytest.mark.parametrize("text", [
    "/api/v1/configmaps?access_token=hunter2x&limit=5", "token=hunter2x", "curl -H 'Authorization: Bearer hunter2x' host",
    "https://user:hunter2x@host/path", "mysql -uroot -phunter2x db", "curl -u bob:hunter2x host", "--password hunter2x --db x",
    "DB_PASSWORD=hunter2x ./run", "my-key: hunter2x", "export AWS_SECRET_ACCESS_KEY=hunter2x", "PGPASSWORD=hunter2x psql",
    "https://a/b?X-Amz-Signature=hunter2x&x=1", "sshpass -p hunter2x ssh h", "redis-cli -a hunter2x get k", "api%2Dkey%3Dhunter2x",
    '{"auth":"hunter2x"}', "eyJhbGciOihunter2x.eyJzdWIiOihunter2x.hunter2x", "glpat-hunter2xhunter2x", "x" * 20 + "hunter2x" + "y" * 30,
    "-----BEGIN RSA PRIVATE KEY-----hunter2x-----END RSA PRIVATE KEY-----", "client_secret=hunter2x", "?sig=hunter2x",
])  # fmt: skip
def test_secrets_are_masked(text: str) -> None:
    assert "hunter2x" not in mask_text(text)
    assert "***" in mask_text(text)


@pytest.mark.parametrize("text", [
    "/api/v1/namespaces/x/secrets/token-abc?watch=true&timeoutSeconds=364", "kubectl/v1.30.1 (linux/amd64) kubernetes/abcdef0",
    "nginx-ingress-controller/v1.1.0 (linux/amd64) ingress-nginx/cacbee86b6ccc45bde8ffc184521bed3022e7dee",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "/apis/apps/v1/namespaces/payments/deployments/api/status?x=1",
    "system:serviceaccount:kube-system:token-cleaner", "cat /var/run/secrets/kubernetes.io/serviceaccount/token",
])  # fmt: skip
def test_what_analysts_need_stays(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize("record", [
    b'{"kind":"Secret","data":{"password":"aHVudGVyMngx"}', b'{"data":{"a":"hunter2x', b"password hunter2x", b"key=hunter2x", b"\xff\xfetoken: hunter2x",
])  # fmt: skip
def test_excerpts_hide_values_of_what_nobody_understood(record: bytes) -> None:
    text = excerpt(record)
    assert "aHVudGVyMngx" not in text
    assert len(text) <= 160
    if b"password hunter2x" not in record:
        assert "hunter2x" not in text
