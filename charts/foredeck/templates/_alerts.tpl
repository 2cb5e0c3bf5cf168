{{/*
The alerts, as docs/monitoring.md explains them. Each: `alert`, `for`, `severity`, `expr`, `summary`, `description`; `needs`
names what has to be switched on for it. Others label what they scrape in their own ways, so an expression names nothing but
foredeck's own metrics and labels, and sums over the Pods.

A counter's first count makes its line, and no increase() sees that one: "rose" does.
*/}}

{{- define "foredeck.alerts.rose" -}}
sum((increase({{ .series }}[{{ .over }}]) > 0) or ({{ .series }} > 0 unless {{ .series }} offset {{ .over }}))
{{- end }}

{{- define "foredeck.alerts" -}}
- alert: ForedeckControllerDown
  for: 5m
  severity: critical
  expr: absent(foredeck_leader{lease="foredeck-controller"})
  summary: No controller of foredeck runs
  description: Nothing starts, and nobody follows what runs in Spinnaker. What was asked for waits, and nothing is lost.
- alert: ForedeckReceiverDown
  needs: slack
  for: 5m
  severity: critical
  expr: absent(foredeck_receiver_people_needed)
  summary: No receiver of foredeck runs
  description: Slack shows an error for every command and every button. kubectl and GitOps still work.
- alert: ForedeckRelayDown
  needs: slack
  for: 5m
  severity: critical
  expr: absent(foredeck_leader{lease="foredeck-relay"})
  summary: No relay of foredeck runs
  description: Slack is told nothing of how requests go, and shows nobody that an approval is asked for. Requests go on.
- alert: ForedeckNoLeader
  for: 2m
  severity: critical
  expr: max by (lease) (foredeck_leader) == 0
  summary: {{ `Nobody holds the Lease {{ $labels.lease }}` | quote }}
  description: {{ `Pods of this role run, and none of them works: none could take the Lease {{ $labels.lease }}.` | quote }}
- alert: ForedeckRequestsUnknown
  for: 10m
  severity: critical
  expr: max(foredeck_requests{phase="Unknown"}) > 0
  summary: {{ `{{ $value }} requests are in phase Unknown` | quote }}
  description: For ten minutes foredeck couldn't tell whether these run. Each holds its target until Spinnaker says, or somebody has looked there and lets it go.
- alert: ForedeckUnknownStart
  severity: warning
  expr: {{ include "foredeck.alerts.rose" (dict "series" "foredeck_starts_total{outcome=\"unknown\"}" "over" "15m") | quote }}
  summary: A start was sent to Spinnaker, and no answer says what came of it
  description: Foredeck looks for the execution by its id. Where Spinnaker has long said that there is none, a connection with onUnknown Retry, which is the default, has it sent again with the same ids; with Hold the request stays Unknown until a person decides.
- alert: ForedeckNoSocket
  needs: socket
  for: 2m
  severity: critical
  expr: sum(foredeck_slack_sockets_live) == 0
  summary: No receiver has a live connection to Slack
  description: Slack has nobody to deliver commands and buttons to, and shows an error to whoever uses them.
- alert: ForedeckRelayStopped
  needs: slack
  for: 1m
  severity: critical
  expr: max(foredeck_relay_stopped) == 1
  summary: Slack doesn't accept the app, so the relay tells nothing
  description: The bot's token was revoked or lacks a scope, or the app was taken out of the workspace. The relay's log says which.
- alert: ForedeckStatusesUndelivered
  needs: slack
  for: 15m
  severity: warning
  expr: max(foredeck_relay_undelivered_requests) > 0 and max(deriv(foredeck_relay_undelivered_requests[15m])) > 0
  summary: {{ `Slack lags behind: {{ $value }} requests have something that it was not told` | quote }}
  description: More changes of requests than Slack is told, for a quarter of an hour.
- alert: ForedeckSlackLimited
  needs: slack
  for: 5m
  severity: warning
  expr: sum(increase(foredeck_slack_calls_total{outcome="ratelimited"}[15m])) > 10
  summary: Slack takes fewer calls than foredeck makes
  description: {{ `Slack refused {{ $value | humanize }} calls within a quarter of an hour, since there were too many. Messages come late.` | quote }}
- alert: ForedeckAnswersSlow
  needs: slack
  for: 5m
  severity: warning
  expr: sum(increase(foredeck_receiver_answer_seconds_count[15m])) - sum(increase(foredeck_receiver_answer_seconds_bucket{le="3.0"}[15m])) > 0.5
  summary: Slack waits for answers longer than it does
  description: Within a quarter of an hour, deliveries took more than 3 s. Slack shows an error for them, though what was asked for may have been done.
- alert: ForedeckConnectionNotReady
  for: 10m
  severity: warning
  expr: max by (namespace, connection) (foredeck_connection_ready) == 0
  summary: {{ `The connection {{ $labels.namespace }}/{{ $labels.connection }} is not ready` | quote }}
  description: Nothing starts through it, and what runs there is not followed. Its condition Ready says why.
- alert: ForedeckCertificateEnds
  for: 10m
  severity: warning
  expr: >-
    max by (namespace, connection) (foredeck_certificate_seconds_left) <
    max by (namespace, connection) (foredeck_certificate_life_seconds) / 4
  summary: {{ `The client certificate of {{ $labels.namespace }}/{{ $labels.connection }} ends in {{ $value | humanizeDuration }}` | quote }}
  description: Less than a quarter of its life is left. One from Vault is renewed at two thirds of its life, so that has failed for a while.
- alert: ForedeckGateErrors
  for: 10m
  severity: warning
  expr: >-
    sum by (endpoint) (rate(foredeck_gate_calls_total{outcome=~"broken|failed|forbidden|late|limited|too-long|unauthorized|unclear|unreachable"}[10m])) /
    sum by (endpoint) (rate(foredeck_gate_calls_total[10m])) > 0.2
  summary: {{ `{{ $value | humanizePercentage }} of the calls "{{ $labels.endpoint }}" to Gate fail` | quote }}
  description: Requests wait for Spinnaker, and starts may end as Unknown.
- alert: ForedeckGateSlow
  for: 10m
  severity: warning
  expr: histogram_quantile(0.9, sum by (endpoint, le) (rate(foredeck_gate_call_seconds_bucket[10m]))) > 5
  summary: {{ `Gate answers "{{ $labels.endpoint }}" slowly` | quote }}
  description: {{ `One of ten calls takes {{ $value | humanizeDuration }} or longer. A start is given up after 20 s, and is then unknown.` | quote }}
- alert: ForedeckGitLimited
  needs: git
  for: 15m
  severity: warning
  expr: {{ printf "%s > 2" (include "foredeck.alerts.rose" (dict "series" "foredeck_git_calls_total{outcome=\"limited\"}" "over" "30m")) | quote }}
  summary: GitHub answers no more for a while, since its rate limit is used up
  description: Versions aren't resolved to commits until GitHub answers again. Where an approval is needed, requests wait; elsewhere they go without a commit, and say so.
- alert: ForedeckGitUnavailable
  needs: git
  for: 15m
  severity: warning
  expr: >-
    sum(increase(foredeck_git_calls_total{outcome="unavailable"}[15m])) /
    sum(increase(foredeck_git_calls_total[15m])) > 0.5
  summary: {{ `{{ $value | humanizePercentage }} of the calls to GitHub get no good answer` | quote }}
  description: Versions aren't resolved to commits. Where an approval is needed, requests wait; elsewhere they go without a commit, and say so.
- alert: ForedeckQueueStuck
  for: 15m
  severity: warning
  expr: max by (kind) (min_over_time(foredeck_queue_depth[15m])) > 20
  summary: {{ `{{ $value }} objects of kind {{ $labels.kind }} wait for a pass, and the queue doesn't drain` | quote }}
  description: The controller is slower than what changes. Requests start late.
- alert: ForedeckWatchRestarts
  for: 5m
  severity: warning
  expr: sum by (kind, reason) (increase(foredeck_watch_restarts_total[15m])) > 10
  summary: {{ `Watches of {{ $labels.kind }} break off again and again ({{ $labels.reason }})` | quote }}
  description: What foredeck knows of these objects is late. Between two watches it reads them all again, which the API server feels.
- alert: ForedeckStopped
  for: 1d
  severity: warning
  expr: max(foredeck_stopped) == 1
  summary: The stop button has been on for a day
  description: Nothing starts anywhere until somebody who has the verb override lifts it. It may have been forgotten.
- alert: ForedeckFreezeUnclear
  for: 10m
  severity: warning
  expr: max(foredeck_freezes_unclear) > 0
  summary: {{ `{{ $value }} freezes can't be read or understood` | quote }}
  description: Each of them holds all the time what it selects, until somebody corrects it. Its condition Ready says why, and foredeck doctor names it.
- alert: ForedeckAuditWaiting
  for: 15m
  severity: warning
  expr: max(min_over_time(foredeck_audit_lines_waiting[15m])) > 0
  summary: {{ `{{ $value }} lines of the audit wait to be taken` | quote }}
  description: A sink of the audit takes no lines, or too few. They are kept with their requests, and go as long as these exist.
{{- end }}
