"""Signs with slack_sdk: a secret, a time and a body in, the signature that Slack would send out."""

import json
import sys

from slack_sdk.signature import SignatureVerifier

for line in sys.stdin:
    order = json.loads(line)
    verifier = SignatureVerifier(order["secret"])
    signature = verifier.generate_signature(
        timestamp=str(order["timestamp"]), body=order["body"].encode()
    )
    print(json.dumps({"saw": "signature", "signature": signature}), flush=True)
