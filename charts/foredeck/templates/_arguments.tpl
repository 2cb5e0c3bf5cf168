{{/* What the roles are started with: `roles` is which of them share the process. */}}

{{- define "foredeck.arguments" -}}
{{- $values := .root.Values -}}
{{- $home := .root.Release.Namespace -}}
{{- $slack := and $values.slack.enabled (or (has "receiver" .roles) (has "relay" .roles)) -}}
- --admin-listen=0.0.0.0:9090
- --log-format={{ $values.log.format }}
{{- with $values.tracing.endpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
{{- range $values.namespaces }}
- --namespace={{ . }}
{{- end }}
{{- if or (has "controller" .roles) (has "relay" .roles) }}
- --lease-namespace={{ $home }}
{{- end }}
{{- if or (has "controller" .roles) (has "receiver" .roles) }}
- --home-namespace={{ $home }}
- {{ printf "--groups-max-age=%s" $values.identity.groupsMaxAge | quote }}
{{- end }}
{{- if gt (len .roles) 1 }}
- --roles-namespace={{ $home }}
{{- end }}
{{- if has "controller" .roles }}
- {{ printf "--stamped-groups-max-age=%s" $values.identity.stampedGroupsMaxAge | quote }}
- --admission-policies={{ include "foredeck.folder" "admission-policies" }}/policies.yaml
{{- range $values.controller.allowGateHosts }}
- {{ printf "--allow-gate-host=%s" . | quote }}
{{- end }}
{{- range $values.controller.allowVaultHosts }}
- {{ printf "--allow-vault-host=%s" . | quote }}
{{- end }}
{{- with $values.controller.audit }}
{{- with .file }}
- {{ printf "--audit-file=%s" . | quote }}
{{- end }}
{{- if .url }}
- {{ printf "--audit-url=%s" .url | quote }}
{{- if .existingSecret }}
- --audit-token-file={{ include "foredeck.folder" "audit" }}/token
{{- end }}
{{- if .caConfigMap }}
- --audit-ca-file={{ include "foredeck.folder" "audit-authorities" }}/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if $slack }}
{{- include "foredeck.arguments.slack" . }}
{{- if has "receiver" .roles }}
{{- include "foredeck.arguments.receiver" . }}
{{- end }}
{{- if has "relay" .roles }}
{{- with $values.slack.startupChannel }}
- --startup-channel={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What both roles take that speak to Slack. */}}
{{- define "foredeck.arguments.slack" -}}
{{- with .root.Values.slack.apiUrl }}
- {{ printf "--slack-api-url=%s" . | quote }}
{{- end }}
{{- include "foredeck.arguments.secret" (dict "flag" "slack-bot-token" "vault" .root.Values.slack.vault.botToken "file" "slack" "key" "bot-token") }}
{{- if include "foredeck.vaulted" . }}
{{- with .root.Values.secretsVault }}
- {{ printf "--vault-address=%s" .address | quote }}
- --vault-login={{ .login }}
{{- with .mount }}
- {{ printf "--vault-mount=%s" . | quote }}
{{- end }}
{{- with .role }}
- {{ printf "--vault-role=%s" . | quote }}
{{- end }}
{{- with .namespace }}
- {{ printf "--vault-namespace=%s" . | quote }}
{{- end }}
- {{ printf "--vault-kv-mount=%s" .kvMount | quote }}
{{- if .caConfigMap }}
- --vault-ca-file={{ include "foredeck.folder" "vault-authorities" }}/ca.crt
{{- end }}
{{- if eq .login "token" }}
- --vault-token-file={{ include "foredeck.folder" "vault-token" }}/token
{{- else }}
- --vault-jwt-file={{ include "foredeck.folder" "vault" }}/token
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "foredeck.arguments.receiver" -}}
{{- $values := .root.Values -}}
{{- $sockets := $values.receiver.socketsPerReplica -}}
{{- $replicas := ternary 1 $values.receiver.replicas (gt (len .roles) 1) -}}
{{- with $values.slack }}
- --slack-mode={{ .transport }}
{{- if eq .transport "socket" }}
{{- include "foredeck.arguments.secret" (dict "flag" "slack-app-token" "vault" .vault.appToken "file" "slack" "key" "app-token") }}
- --slack-sockets={{ $sockets }}
{{- /* With those of the Pod that a rolling update adds, lest each update look like somebody else's. */}}
- --slack-sockets-expected={{ mul $sockets (add $replicas 1) }}
{{- else }}
{{- include "foredeck.arguments.secret" (dict "flag" "slack-signing-secret" "vault" .vault.signingSecret "file" "slack" "key" "signing-secret") }}
- --listen=0.0.0.0:8080
{{- end }}
{{- if or .oldBotToken .vault.oldBotToken }}
{{- include "foredeck.arguments.secret" (dict "flag" "slack-old-bot-token" "vault" .vault.oldBotToken "file" "slack" "key" "old-bot-token") }}
{{- end }}
{{- with .appId }}
- --slack-app-id={{ . }}
{{- end }}
- {{ printf "--command=%s" .command | quote }}
- {{ printf "--request-ttl=%s" .requestTtl | quote }}
{{- if .userGroups }}
- --slack-groups
- {{ printf "--slack-group-prefix=%s" .groupPrefix | quote }}
{{- end }}
{{- end }}
- {{ printf "--username-format=%s" $values.identity.usernameFormat | quote }}
{{- range $values.identity.emailDomains }}
- --email-domain={{ . }}
{{- end }}
{{- with $values.okta }}
{{- if .url }}
- {{ printf "--okta-url=%s" .url | quote }}
{{- include "foredeck.arguments.secret" (dict "flag" "okta-token" "vault" .vaultToken "file" "okta" "key" "token") }}
- {{ printf "--okta-group-prefix=%s" .groupPrefix | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where a secret is: in Vault, or else in a mounted file. */}}
{{- define "foredeck.arguments.secret" }}
- {{ if .vault }}{{ printf "--%s-vault=%s" .flag .vault | quote }}{{ else }}--{{ .flag }}-file={{ include "foredeck.folder" .file }}/{{ .key }}{{ end }}
{{- end }}

{{/* Not empty where one of these roles reads a secret from Vault. */}}
{{- define "foredeck.vaulted" -}}
{{- $values := .root.Values -}}
{{- $keys := list $values.slack.vault.botToken -}}
{{- if has "receiver" .roles -}}
{{- $own := ternary $values.slack.vault.appToken $values.slack.vault.signingSecret (eq $values.slack.transport "socket") -}}
{{- $okta := ternary $values.okta.vaultToken "" (ne $values.okta.url "") -}}
{{- $keys = concat $keys (list $own $values.slack.vault.oldBotToken $okta) -}}
{{- end -}}
{{- if and $values.slack.enabled (join "" $keys) -}}
yes
{{- end -}}
{{- end }}
