"""A small app as people write them with slack_bolt, over Socket Mode: a command, a button, a modal, a mention."""

import json
import sys

from slack_bolt import App
from slack_bolt.adapter.socket_mode import SocketModeHandler
from slack_sdk import WebClient

BASE_URL, TOKEN, APP_TOKEN = sys.argv[1:]
client = WebClient(token=TOKEN, base_url=BASE_URL)
app = App(client=client)


def say_line(**words):
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


@app.command("/deploy")
def deploy(ack, command, say, respond):
    ack(f"Taken: {command['text']}")
    say(
        text="A deployment",
        blocks=[
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{command['text']}*"}},
            {
                "type": "actions",
                "block_id": "choices",
                "elements": [
                    {
                        "type": "button",
                        "action_id": "why",
                        "text": {"type": "plain_text", "text": "Say why"},
                        "value": "plan-1",
                    }
                ],
            },
        ],
    )
    respond("Look above")
    say_line(saw="command", command=command)


@app.action("why")
def why(ack, body, client):
    ack()
    client.views_open(
        trigger_id=body["trigger_id"],
        view={
            "type": "modal",
            "callback_id": "reason",
            "private_metadata": body["message"]["ts"],
            "title": {"type": "plain_text", "text": "Why"},
            "submit": {"type": "plain_text", "text": "Send"},
            "blocks": [
                {
                    "type": "input",
                    "block_id": "reason",
                    "label": {"type": "plain_text", "text": "Reason"},
                    "element": {"type": "plain_text_input", "action_id": "text"},
                }
            ],
        },
    )
    say_line(saw="action", value=body["actions"][0]["value"], user=body["user"]["id"])


@app.view("reason")
def reason(ack, view, body):
    text = view["state"]["values"]["reason"]["text"]["value"]
    if len(text) < 5:
        ack(response_action="errors", errors={"reason": "Say a little more"})
        return
    ack()
    say_line(saw="submission", text=text, metadata=view["private_metadata"])


@app.event("app_mention")
def mentioned(event, say):
    say(text=f"You said: {event['text']}", thread_ts=event["ts"])
    say_line(saw="mention", event=event)


handler = SocketModeHandler(app, APP_TOKEN)
handler.connect()
say_line(saw="start")
for _line in sys.stdin:
    pass
handler.close()
