"""google-cloud-storage by default credentials: puts, gets and lists objects on demand.

Each line of standard input is how often; one line of JSON says how often it succeeded and what failed.
"""

import json
import os
import sys

from google.cloud import storage

# The endpoint is all that differs from a program in production; credentials are the default ones.
client = storage.Client(client_options={"api_endpoint": os.environ["STORE_URL"]})
bucket = client.bucket("lake")
done = 0


def work(n):
    blob = bucket.blob(f"python/{n}")
    blob.upload_from_string(f"text {n}")
    if blob.download_as_text() != f"text {n}":
        raise ValueError("other content")
    if not list(client.list_blobs(bucket, prefix=f"python/{n}")):
        raise ValueError("not listed")


for line in sys.stdin:
    ok, errors = 0, []
    for _ in range(int(line)):
        done += 1
        try:
            work(done)
            ok += 1
        except Exception as error:  # every failure is what the test wants to hear of
            errors.append(f"{type(error).__name__} {error}")
    print(json.dumps({"ok": ok, "errors": errors}), flush=True)
