// @slack/bolt behind its HTTPReceiver: checks signatures as apps do, and answers as people write their apps.
const { App, HTTPReceiver, LogLevel } = require('@slack/bolt');

const [slackApiUrl, token, signingSecret] = process.argv.slice(2);
const say = (words) => process.stdout.write(`${JSON.stringify(words)}\n`);

const receiver = new HTTPReceiver({
  signingSecret,
  endpoints: ['/slack/events'],
  logLevel: LogLevel.ERROR,
});
const app = new App({ receiver, token, clientOptions: { slackApiUrl }, logLevel: LogLevel.ERROR });

app.command('/deploy', async ({ ack, command, respond }) => {
  await ack({ response_type: 'ephemeral', text: `Taken: ${command.text}` });
  await respond({ text: 'And later', response_type: 'in_channel' });
  say({ saw: 'command', command });
});
app.event('app_mention', async ({ event, body, say: post }) => {
  await post({ text: 'Here', thread_ts: event.ts });
  say({ saw: 'mention', event, body });
});
app.event('message', async ({ event }) => {
  say({ saw: 'message', event });
});
app.action('go', async ({ ack, action, body, client }) => {
  await ack();
  await client.views.open({
    trigger_id: body.trigger_id,
    view: {
      type: 'modal',
      callback_id: 'form',
      title: { type: 'plain_text', text: 'Form' },
      submit: { type: 'plain_text', text: 'Send' },
      blocks: [
        {
          type: 'input',
          block_id: 'app',
          label: { type: 'plain_text', text: 'Application' },
          element: { type: 'external_select', action_id: 'application', min_query_length: 1 },
        },
      ],
    },
  });
  say({ saw: 'action', action });
});
app.options('application', async ({ ack, options }) => {
  await ack({ options: [{ text: { type: 'plain_text', text: 'Checkout ✓' }, value: 'checkout' }] });
  say({ saw: 'options', value: options.value });
});
app.view('form', async ({ ack, view }) => {
  await ack({ response_action: 'clear' });
  say({ saw: 'submission', values: view.state.values });
});

(async () => {
  const server = await receiver.start({ port: 0, host: '127.0.0.1' });
  say({ saw: 'start', port: server.address().port });
  process.stdin.resume();
  process.stdin.on('end', () => receiver.stop().then(() => process.exit(0)));
})();
