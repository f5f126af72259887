"""Opens the protocol's test vectors with another language's libraries, from docs/protocol.md alone.

Usage: python vectors_check.py FOLDER. Prints one line for each proof; ends with 1 at the first failure.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

FOLDER = pathlib.Path(sys.argv[1])


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def b64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def b64out(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def prove(claim, holds):
    if not holds:
        print(f"FAILED: {claim}")
        sys.exit(1)
    print(claim)


def verify_jws(jws, typ, keys):
    head64, payload64, signature64 = jws.split(".")
    head = json.loads(b64(head64))
    assert head["alg"] == "EdDSA" and head["typ"] == typ, head
    jwk = next(key["jwk"] for key in keys if key["kid"] == head["kid"])
    public = Ed25519PublicKey.from_public_bytes(b64(jwk["x"]))
    public.verify(b64(signature64), f"{head64}.{payload64}".encode())
    return b64(payload64)


def open_gcm(jwe, key):
    head64, _, iv, cipher, tag = jwe.split(".")
    assert json.loads(b64(head64))["enc"] == "A256GCM"
    return AESGCM(key).decrypt(b64(iv), b64(cipher) + b64(tag), head64.encode())


def open_dir(jwe, key):
    head = json.loads(b64(jwe.split(".")[0]))
    assert head["alg"] == "dir" and jwe.split(".")[1] == "", head
    return open_gcm(jwe, key)


def open_ecdh(jwe, private_jwk):
    head64, wrapped = jwe.split(".")[:2]
    head = json.loads(b64(head64))
    assert head["alg"] == "ECDH-ES+A256KW", head
    private = X25519PrivateKey.from_private_bytes(b64(private_jwk["d"]))
    shared = private.exchange(X25519PublicKey.from_public_bytes(b64(head["epk"]["x"])))
    # RFC 7518, 4.6.2: one round of Concat KDF, with empty PartyUInfo and PartyVInfo.
    alg = head["alg"].encode()
    info = struct.pack(">I", len(alg)) + alg + struct.pack(">III", 0, 0, 256)
    kek = hashlib.sha256(struct.pack(">I", 1) + shared + info).digest()
    return open_gcm(jwe, aes_key_unwrap(kek, b64(wrapped)))


keys = load("keys")
job_keys = keys["jobKeyFile"]["sets"][0]
signing = keys["jobKeys"]["signing"]

for derivation in keys["derivations"]:
    info = bytes.fromhex(derivation["infoHex"])
    derived = HKDF(hashes.SHA256(), 32, None, info).derive(b64(derivation["root"]))
    prove(f"HKDF gives the {derivation['what']}", b64out(derived) == derivation["key"])

bundle = load("bundle")
jwe = verify_jws(bundle["sealed"], "evergrant-bundle", signing).decode()
header = json.loads(b64(jwe.split(".")[0]))
prove(
    "the bundle's signature holds and its header is as stated",
    header == {**bundle["header"], "alg": "dir", "enc": "A256GCM"},
)
body = json.loads(open_dir(jwe, b64(bundle["groupKey"])))
prove("the bundle opens to its credentials", body == bundle["body"])
bent = bundle["sealed"][:-8] + ("A" if bundle["sealed"][-8] != "A" else "B") + bundle["sealed"][-7:]
try:
    verify_jws(bent, "evergrant-bundle", signing)
    refused = False
except InvalidSignature:
    refused = True
prove("a bent bundle is refused", refused)

registration = load("registration")
request = registration["requestBody"]
signed = open_ecdh(registration["request"], job_keys["registration"]["jwk"]).decode()
opened = json.loads(verify_jws(signed, "evergrant-register", [request["key"]]))
prove("the register request opens and is signed by the key in it", opened == request)
reply_key = b64(request["replyKey"])
for name in ("accepted", "refused"):
    reply = json.loads(registration[name])
    signed = open_dir(reply["sealed"], reply_key).decode()
    opened = json.loads(verify_jws(signed, "evergrant-registered", signing))
    prove(f"the reply that is {name} opens to its body", opened == registration[f"{name}Body"])
prove("the accepted reply brings the bundle", json.loads(registration["accepted"])["bundle"] == bundle["sealed"])

reports = load("reports")
for one in reports["reports"]:
    mac, text = one["frame"][:43], one["frame"][44:]
    wanted = hmac.new(b64(reports["macKey"]), f"{one['subject']}\n{text}".encode(), hashlib.sha256)
    prove(
        f"the MAC of the {one['report']['type']} holds",
        one["frame"][43] == "." and b64out(wanted.digest()) == mac and json.loads(text) == one["report"],
    )

operator = [{"kid": keys["operatorKey"]["kid"], "jwk": keys["operatorKey"]["jwk"]}]
private = {key["kid"]: key["jwk"]["d"] for key in (job_keys["signing"], keys["operatorKey"])}
for document in load("signed")["documents"]:
    jws, typ = document["jws"], document["typ"]
    payload = verify_jws(jws, typ, operator if document["kid"] == "op-1" else signing)
    message = jws.rsplit(".", 1)[0].encode()
    key = Ed25519PrivateKey.from_private_bytes(b64(private[document["kid"]]))
    prove(
        f"the {typ} is signed over its body, and signed again is the same",
        json.loads(payload) == document["body"] and jws.endswith("." + b64out(key.sign(message))),
    )
