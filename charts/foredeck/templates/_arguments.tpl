{{/*
What the roles are started with: `roles` is which of them share the process. Flags that `foredeck doctor` has, too, are given by
their variables, so that it knows them when somebody runs it in the Pod: `kubectl exec … -- /foredeck doctor`.
*/}}

{{/* The variables of such flags; a flag that comes several times is one variable with commas. */}}
{{- define "foredeck.variables.ofDoctor" -}}
--namespace: FOREDECK_NAMESPACE
--home-namespace: FOREDECK_HOME_NAMESPACE
--lease-namespace: FOREDECK_LEASE_NAMESPACE
--admission-policies: FOREDECK_ADMISSION_POLICIES
--allow-gate-host: FOREDECK_ALLOW_GATE_HOST
--allow-vault-host: FOREDECK_ALLOW_VAULT_HOST
--allow-git-host: FOREDECK_ALLOW_GIT_HOST
--slack-api-url: SLACK_API_URL
--slack-bot-token-file: SLACK_BOT_TOKEN_FILE
--slack-bot-token-vault: SLACK_BOT_TOKEN_VAULT
--slack-app-token-file: SLACK_APP_TOKEN_FILE
--slack-app-token-vault: SLACK_APP_TOKEN_VAULT
--okta-url: FOREDECK_OKTA_URL
--okta-token-file: OKTA_API_TOKEN_FILE
--okta-token-vault: OKTA_API_TOKEN_VAULT
--vault-address: FOREDECK_VAULT_ADDRESS
--vault-ca-file: FOREDECK_VAULT_CA_FILE
--vault-namespace: FOREDECK_VAULT_NAMESPACE
--vault-login: FOREDECK_VAULT_LOGIN
--vault-mount: FOREDECK_VAULT_MOUNT
--vault-role: FOREDECK_VAULT_ROLE
--vault-jwt-file: FOREDECK_VAULT_JWT_FILE
--vault-token-file: FOREDECK_VAULT_TOKEN_FILE
--vault-kv-mount: FOREDECK_VAULT_KV_MOUNT
{{- end }}

{{/* All that these roles are told: `arguments`, and `variables` by their names. */}}
{{- define "foredeck.given" -}}
{{- $named := include "foredeck.variables.ofDoctor" . | fromYaml -}}
{{- $arguments := list -}}
{{- $variables := dict -}}
{{- range include "foredeck.arguments" . | fromYamlArray -}}
{{- $flag := splitList "=" . | first -}}
{{- $value := trimPrefix (printf "%s=" $flag) . -}}
{{- with get $named $flag -}}
{{- $_ := set $variables . (append (default list (get $variables .)) $value) -}}
{{- else -}}
{{- $arguments = append $arguments . -}}
{{- end -}}
{{- end -}}
{{- $joined := dict -}}
{{- range $name, $values := $variables -}}
{{- $_ := set $joined $name (join "," $values) -}}
{{- end -}}
{{ dict "arguments" $arguments "variables" $joined | toYaml }}
{{- end }}

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
- --lease-namespace={{ $home }}
- --home-namespace={{ $home }}
{{- if or (has "controller" .roles) (has "receiver" .roles) }}
- {{ printf "--groups-max-age=%s" $values.identity.groupsMaxAge | quote }}
{{- end }}
{{- if or (has "controller" .roles) (has "receiver" .roles) }}
{{- include "foredeck.arguments.git" . }}
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

{{/* Where repositories may be. Left out, the flag would allow GitHub's own: no host has the name that allows none. */}}
{{- define "foredeck.arguments.git" }}
{{- range ternary .root.Values.git.allowHosts (list "none.invalid") .root.Values.git.enabled }}
- {{ printf "--allow-git-host=%s" . | quote }}
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
