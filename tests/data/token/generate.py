#!/usr/bin/env python3
"""Makes the test data of this directory. Nothing here is a secret: the keys and tokens exist for tests only.

    openssl must be there; once for the keys and the cases, then once under each PyJWT:
    python3 -m venv v && v/bin/pip install 'pyjwt==2.15.1' cryptography && v/bin/python generate.py
    python3 -m venv w && w/bin/pip install 'pyjwt==2.8.0'  cryptography && w/bin/python generate.py

Keys and cases that are there already are kept (ES256 signatures differ from run to run), and the verdict of
the PyJWT that runs is added to pyjwt.json. Each case is decoded at the fixed moment NOW with a leeway of 60
seconds; with a key where the case names one, otherwise without looking at the signature (PyJWT still checks
the claims then). A verdict is null where PyJWT accepts, else the exception's class and message.
"""

import base64
import datetime
import json
import pathlib
import subprocess
import warnings

import jwt
import jwt.api_jwt

HERE = pathlib.Path(__file__).parent
NOW = 1767225600  # 2026-01-01T00:00:00Z
warnings.simplefilter("ignore")


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz)


jwt.api_jwt.datetime = FixedTime


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], cwd=HERE, check=True, capture_output=True)


def make_keys():
    if (HERE / "test-only-rsa.key.pem").exists():
        return
    for name, options in {
        "rsa": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "rsa-other": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        "rsa-small": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        "ec": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ec-other": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "ec-p384": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    }.items():
        key = f"test-only-{name}.key.pem"
        openssl("genpkey", *options, "-out", key)
        openssl("pkey", "-in", key, "-pubout", "-out", f"test-only-{name}.pub.pem")
    openssl("rsa", "-in", "test-only-rsa.key.pem", "-RSAPublicKey_out", "-out", "test-only-rsa.pkcs1.pem")
    for name in ["rsa", "ec"]:
        openssl("req", "-new", "-x509", "-key", f"test-only-{name}.key.pem", "-subj", "/CN=test only", "-days", "1",
                "-out", f"test-only-{name}.cert.pem")


def b64(data):
    data = data if isinstance(data, bytes) else data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(header, payload, signature=b"signature"):
    """A token of three texts, whatever is in them."""
    return ".".join([b64(header), b64(payload), b64(signature)])


def signed(claims, key="rsa", alg="RS256"):
    return jwt.encode(claims, (HERE / f"test-only-{key}.key.pem").read_text(), algorithm=alg)


def cases():
    head, body = '{"alg":"RS256","typ":"JWT"}', json.dumps({"exp": NOW + 7200}, separators=(",", ":"))
    good = raw(head, body)
    h, p, s = good.split(".")
    yield "good", good
    yield "good, no exp", raw(head, "{}")
    # What PyJWT calls segments.
    yield "empty", ""
    yield "one word", "false"
    yield "a placeholder", "[COMPONENT_REGISTRATION_TOKEN]"
    yield "a template variable", "{checkin_jwt}"
    yield "an opaque token", "Zq7Rk2mXw9Lp4Tn8Vb3s"
    yield "two segments", f"{h}.{p}"
    yield "four segments", f"{good}.{s}"
    yield "four segments, bad header", f"{h}!.{p}.{s}.{s}"
    yield "five segments", f"{h}.{p}.{s}.{s}.{s}"
    yield "only dots", ".."
    # Base64url.
    yield "header with a slash", f"{h[:5]}/{h[6:]}.{p}.{s}"
    yield "header cut by one", f"{h[:-1]}.{p}.{s}" if len(h) % 4 == 2 else f"{h}A.{p}.{s}" if len(h) % 4 == 0 else f"{h[:-2]}.{p}.{s}"
    yield "header of impossible length", f"{h[:len(h) // 4 * 4]}A.{p}.{s}"
    yield "header padded rightly", ".".join([b64(head + " ") + "=" * (-len(b64(head + " ")) % 4), p, s])
    yield "header padded wrongly", f"{h}===.{p}.{s}"
    yield "payload of impossible length", f"{h}.{p[:len(p) // 4 * 4]}A.{s}"
    yield "payload with a blank", f"{h}.{p[:4]} {p[4:]}.{s}"
    yield "payload with a plus", f"{h}.{p[:4]}+{p[5:]}.{s}"
    yield "payload with trailing bits", f"{h}.{b64('{}')[:-1]}1.{s}"
    yield "signature of impossible length", f"{h}.{p}.{s[:8]}A"
    yield "signature with trailing bits", f"{h}.{p}.AB"
    yield "signature with a tilde", f"{h}.{p}.{s[:4]}~{s[5:]}"
    yield "a line feed behind", good + "\n"
    yield "a blank in front", " " + good
    yield "in quotes", f'"{good}"'
    yield "two lines", f"{good}\n{good}"
    yield "Bearer in front", "Bearer " + good
    # JSON.
    yield "header empty", f".{p}.{s}"
    yield "header no JSON", raw("hello", body)
    yield "header not UTF-8", raw(b'{"alg":"\xff"}', body)
    yield "header a list", raw('["RS256"]', body)
    yield "header a string", raw('"RS256"', body)
    yield "header null", raw("null", body)
    yield "header cut", raw(head[:-3], body)
    yield "header twice", raw(head + head, body)
    yield "header with a duplicate key", raw('{"alg":"RS256","alg":"RS256"}', body)
    yield "header in UTF-16", raw(head.encode("utf-16"), body)
    yield "header with a byte order mark", raw(b"\xef\xbb\xbf" + head.encode(), body)
    yield "payload empty", f"{h}..{s}"
    yield "payload no JSON", raw(head, "hello")
    yield "payload a list", raw(head, "[]")
    yield "payload a number", raw(head, "1")
    yield "payload cut", raw(head, body[:-1])
    yield "payload with a duplicate key", raw(head, '{"exp":9999999999,"exp":9999999999}')
    yield "payload with a duplicate key within", raw(head, '{"a":{"b":1,"b":2}}')
    yield "payload nested deep", raw(head, '{"a":' + "[" * 40 + "]" * 40 + "}")
    yield "payload nested beyond reason", raw(head, '{"a":' + "[" * 3000)
    yield "payload with NaN", raw(head, '{"a":NaN}')
    # Header parameters.
    yield "no alg", raw('{"typ":"JWT"}', body)
    yield "alg none", raw('{"alg":"none"}', body)
    yield "alg None", raw('{"alg":"None"}', body)
    yield "alg none without signature", raw('{"alg":"none"}', body, b"")
    yield "alg a number", raw('{"alg":256}', body)
    yield "alg empty", raw('{"alg":""}', body)
    yield "alg unknown", raw('{"alg":"XX999"}', body)
    yield "alg a sentence", raw('{"alg":"all your tokens"}', body)
    yield "kid a number", raw('{"alg":"RS256","kid":1}', body)
    yield "kid a string", raw('{"alg":"RS256","kid":"1"}', body)
    yield "crit empty", raw('{"alg":"RS256","crit":[]}', body)
    yield "crit of numbers", raw('{"alg":"RS256","crit":[1]}', body)
    yield "crit unknown", raw('{"alg":"RS256","crit":["x"],"x":1}', body)
    yield "b64 false", raw('{"alg":"RS256","b64":false}', body)
    yield "no signature", raw(head, body, b"")
    # Claims.
    for name in ["exp", "nbf", "iat"]:
        for what, value in {
            "a word": '"soon"', "digits in a string": f'"{NOW + 60 if name == "exp" else NOW}"', "null": "null",
            "true": "true", "a list": "[1]", "an object": "{}", "infinite": "Infinity", "beyond a double": "1e400",
            "a float": f"{NOW + (3600 if name == 'exp' else 0)}.5", "huge": f"{10 ** 30 if name == 'exp' else -10 ** 30}",
            "with exponent": "1.9e9" if name == "exp" else "1e9",
        }.items():
            yield f"{name} {what}", raw(head, f'{{"{name}":{value}}}')
    for seconds in [-10 ** 9, -3600, -61, -60, -59, 0, 59, 60, 61, 3600]:
        yield f"exp at {seconds:+}", raw(head, f'{{"exp":{NOW + seconds}}}')
    yield "exp at -60 and a fraction", raw(head, f'{{"exp":{NOW - 60}.9}}')
    yield "exp at -59 and a fraction", raw(head, f'{{"exp":{NOW - 59}.9}}')
    for name in ["nbf", "iat"]:
        for seconds in [-3600, 0, 60, 61, 3600]:
            yield f"{name} at {seconds:+}", raw(head, f'{{"{name}":{NOW + seconds}}}')
        yield f"{name} at +60 and a fraction", raw(head, f'{{"{name}":{NOW + 60}.9}}')
    yield "iat before nbf before exp", raw(head, f'{{"exp":{NOW - 999},"nbf":{NOW + 999},"iat":{NOW + 999}}}')
    yield "nbf before exp", raw(head, f'{{"exp":{NOW - 999},"nbf":{NOW + 999}}}')
    yield "exp wrong and nbf early", raw(head, f'{{"exp":"x","nbf":{NOW + 999}}}')
    yield "sub a number", raw(head, '{"sub":1}')
    yield "jti a number", raw(head, '{"jti":1}')
    yield "sub and jti strings", raw(head, '{"sub":"1","jti":"2"}')
    # Signatures.
    claims = {"exp": NOW + 7200, "authorizations": [80], "connection_proxy_id": "x"}
    rs256, es256 = signed(claims), signed(claims, "ec", "ES256")
    hs256_header, hs256_body = b64('{"alg":"HS256","typ":"JWT"}'), b64(json.dumps(claims))
    import hashlib
    import hmac
    public = (HERE / "test-only-rsa.pub.pem").read_bytes()
    confused = hmac.new(public, f"{hs256_header}.{hs256_body}".encode(), hashlib.sha256).digest()
    other = b64(json.dumps({**claims, "authorizations": [80, 90]}))
    yield "RS256", rs256, "rsa"
    yield "RS256, another key's", signed(claims, "rsa-other"), "rsa"
    yield "RS256, payload exchanged", ".".join([rs256.split(".")[0], other, rs256.split(".")[2]]), "rsa"
    yield "RS256, signature cut", rs256[:-4], "rsa"
    yield "RS256, no signature", rs256.rsplit(".", 1)[0] + ".", "rsa"
    yield "RS256, expired", signed({"exp": NOW - 999}), "rsa"
    yield "RS256, expired and another key's", signed({"exp": NOW - 999}, "rsa-other"), "rsa"
    yield "RS256, payload no object", ".".join([h, b64("[]"), s]), "rsa"
    yield "RS384 for an RS256 key", signed(claims, alg="RS384"), "rsa"
    yield "PS256 for an RS256 key", signed(claims, alg="PS256"), "rsa"
    yield "HS256 with the public key as secret", f"{hs256_header}.{hs256_body}.{b64(confused)}", "rsa"
    yield "none for an RS256 key", raw('{"alg":"none"}', body, b""), "rsa"
    yield "no alg for an RS256 key", raw('{"typ":"JWT"}', body), "rsa"
    yield "ES256", es256, "ec"
    yield "ES256, another key's", signed(claims, "ec-other", "ES256"), "ec"
    yield "ES256, signature cut", es256[:-4], "ec"
    yield "ES256 for an RS256 key", es256, "rsa"
    yield "RS256 for an ES256 key", rs256, "ec"


def verdict(token, key):
    options = {"verify_signature": key is not None, "verify_aud": False, "verify_iss": False}
    options |= {f"verify_{name}": True for name in ["exp", "nbf", "iat", "sub", "jti"]}
    pem = (HERE / f"test-only-{key}.pub.pem").read_text() if key else ""
    algorithms = ["ES256"] if key == "ec" else ["RS256"]
    try:
        jwt.decode(token, pem, algorithms=algorithms, options=options, leeway=60)
    except Exception as error:
        return {"class": type(error).__name__, "message": str(error)}
    return None


make_keys()
path = HERE / "pyjwt.json"
table = json.loads(path.read_text()) if path.exists() else {"now": NOW, "leeway": 60, "cases": []}
known = {case["name"]: case for case in table["cases"]}
for name, token, *key in cases():
    known.setdefault(name, {"name": name, "token": token, "key": key[0] if key else None, "verdicts": {}})
for case in known.values():
    case["verdicts"][jwt.__version__] = verdict(case["token"], case["key"])
table["cases"] = list(known.values())
path.write_text(json.dumps(table, indent=1) + "\n")
print(jwt.__version__, len(known), "cases,", sum(case["verdicts"][jwt.__version__] is None for case in known.values()), "accepted")
