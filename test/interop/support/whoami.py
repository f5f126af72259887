"""A boto3 client with its usual search for credentials: what it found, and who STS says it is.

    python whoami.py STS_ENDPOINT

Prints JSON: the access key, the name of the place it came from, and the caller's ARN.
"""

import json
import sys

import boto3

session = boto3.session.Session()
credentials = session.get_credentials()
found = credentials.get_frozen_credentials()
sts = session.client("sts", endpoint_url=sys.argv[1])
print(
    json.dumps(
        {
            "accessKey": found.access_key,
            "method": credentials.method,
            "arn": sts.get_caller_identity()["Arn"],
        }
    )
)
