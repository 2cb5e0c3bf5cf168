"""slack_sdk's SocketModeClient: says what comes through the socket, and acknowledges as it is told to."""

import json
import sys

from slack_sdk import WebClient
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse

BASE_URL, TOKEN, APP_TOKEN = sys.argv[1:]


def say(**words):
    # One write, since several threads speak.
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def heard(_client, message, _raw):
    if message.get("type") == "hello":
        say(saw="hello", message=message)


def requested(_client, request):
    say(
        saw=request.type,
        envelope_id=request.envelope_id,
        payload=request.payload,
        accepts_response_payload=request.accepts_response_payload,
        retry_attempt=request.retry_attempt,
        retry_reason=request.retry_reason,
    )


client = SocketModeClient(
    app_token=APP_TOKEN,
    web_client=WebClient(token=TOKEN, base_url=BASE_URL),
    ping_interval=1,
)
client.message_listeners.append(heard)
client.socket_mode_request_listeners.append(requested)
client.on_error_listeners.append(lambda error: say(saw="error", error=str(error)))
client.connect()
for line in sys.stdin:
    order = json.loads(line)
    client.send_socket_mode_response(
        SocketModeResponse(envelope_id=order["envelope_id"], payload=order.get("payload"))
    )
client.close()
