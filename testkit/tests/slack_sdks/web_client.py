"""slack_sdk's WebClient does what it is told to: a method and its arguments in, what the SDK made of the answer out."""

import json
import sys

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

BASE_URL, TOKEN, APP_TOKEN = sys.argv[1:]
CLIENT = WebClient(token=TOKEN, base_url=BASE_URL)
# Waits as Slack's answer says, and asks again.
PATIENT = WebClient(
    token=TOKEN,
    base_url=BASE_URL,
    retry_handlers=[RateLimitErrorRetryHandler(max_retry_count=1)],
)
OF_APP = WebClient(token=APP_TOKEN, base_url=BASE_URL)
CLIENTS = {"bot": CLIENT, "patient": PATIENT, "app": OF_APP}


def say(**words):
    print(json.dumps(words), flush=True)


for line in sys.stdin:
    order = json.loads(line)
    try:
        client = CLIENTS[order["client"]]
        method = getattr(client, order["method"].replace(".", "_"))
        if order["pages"]:
            # The SDK itself follows the cursor.
            pages = [page.data for page in method(**order["arguments"])]
            say(saw="pages", pages=pages)
        else:
            response = method(**order["arguments"])
            say(saw="answer", data=response.data, headers=dict(response.headers))
    except SlackApiError as error:
        answer = error.response
        say(
            saw="refusal",
            status=answer.status_code,
            data=answer.data,
            headers=dict(answer.headers),
        )
    except Exception as error:  # A mistake of the stand-in's shows as anything at all.
        say(saw="failure", error=f"{type(error).__name__}: {error}")
