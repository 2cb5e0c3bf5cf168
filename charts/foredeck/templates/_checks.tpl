{{/* What no schema can say: values that don't go together. Each sentence says which, why and what to do. */}}

{{/* The only paths that Slack sends to. */}}
{{- define "foredeck.paths" -}}
["/slack/commands", "/slack/interactivity", "/slack/events"]
{{- end }}

{{- define "foredeck.checks" -}}
{{- $values := .Values -}}
{{- $http := and $values.slack.enabled (eq $values.slack.transport "http") -}}
{{- range (list "ingress" "httpRoute") -}}
{{- if and (get $values .).enabled (not $http) -}}
{{- fail (printf "%s.enabled: nothing comes in but what Slack sends over HTTP. Set slack.enabled=true and slack.transport=http, or %s.enabled=false" . .) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $values.slack.transport "http") (not $values.slack.enabled) -}}
{{- fail "slack.transport is http and slack.enabled is false, so that nothing would listen to Slack. Set slack.enabled=true, or leave slack.transport out" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.host) -}}
{{- fail "ingress.host is missing: the name that the app's manifest has, such as foredeck.corp.example" -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is empty: name the Gateway that Slack reaches, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and $values.slack.enabled (not $values.slack.existingSecret) (include "foredeck.keys" (dict "root" . "roles" (list "receiver" "relay"))) -}}
{{- fail "slack.existingSecret is empty, and slack.vault doesn't name all of Slack's secrets. Name a Secret, or where each is in slack.vault" -}}
{{- end -}}
{{- if and $values.git.enabled (not $values.git.allowHosts) -}}
{{- fail "git.allowHosts is empty, and git.enabled is true, so that no repository could be asked. List the hosts, such as [api.github.com], or set git.enabled=false" -}}
{{- end -}}
{{- if and $values.okta.url (not $values.slack.enabled) -}}
{{- fail "okta.url: Okta is asked for the groups of people in Slack, and slack.enabled is false. Set slack.enabled=true, or leave okta.url out" -}}
{{- end -}}
{{- if and $values.okta.url (not $values.okta.existingSecret) (not $values.okta.vaultToken) -}}
{{- fail "okta.url is set, and neither okta.existingSecret nor okta.vaultToken says where its API token is: name one" -}}
{{- end -}}
{{- if include "foredeck.vaulted" (dict "root" . "roles" (list "receiver" "relay")) -}}
{{- with $values.secretsVault -}}
{{- if not .address -}}
{{- fail "secretsVault.address is missing: slack.vault or okta.vaultToken says that a secret is in Vault" -}}
{{- end -}}
{{- if and (ne .login "token") (not .role) -}}
{{- fail (printf "secretsVault.role is missing: the role of the login %q in Vault" .login) -}}
{{- end -}}
{{- if and (ne .login "token") (not .audience) -}}
{{- fail "secretsVault.audience is missing: without it the token that Vault is shown would be good for the API server, too. Say whom it is for, as the login's role in Vault does" -}}
{{- end -}}
{{- if and (eq .login "token") (not .existingSecret) -}}
{{- fail "secretsVault.existingSecret is missing: with login \"token\" a Secret holds the Vault token" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with $values.controller.audit.file -}}
{{- $block := ternary "single" "controller" (eq $values.mode "single") -}}
{{- $file := clean . -}}
{{- $kept := false -}}
{{- range (get $values $block).extraVolumeMounts -}}
{{- if and (not .readOnly) (hasPrefix (printf "%s/" (clean .mountPath | trimSuffix "/")) $file) -}}{{ $kept = true }}{{- end -}}
{{- end -}}
{{- if not $kept -}}
{{- fail (printf "controller.audit.file is %s, and nothing is mounted there to write to: the rest of the Pod is read-only. Name a volume in %s.extraVolumes that all replicas share (ReadWriteMany), and a folder above the file in %s.extraVolumeMounts" . $block $block) -}}
{{- end -}}
{{- end -}}
{{- if and $values.slack.enabled $values.slack.userGroups -}}
{{- include "foredeck.checks.prefix" (dict "root" . "name" "slack.groupPrefix" "prefix" $values.slack.groupPrefix) -}}
{{- end -}}
{{- if and $values.slack.enabled $values.okta.url -}}
{{- include "foredeck.checks.prefix" (dict "root" . "name" "okta.groupPrefix" "prefix" $values.okta.groupPrefix) -}}
{{- end -}}
{{- end }}

{{/* Whether admission lets the receiver name groups that begin so. */}}
{{- define "foredeck.checks.prefix" -}}
{{- $prefix := .prefix -}}
{{- $allowed := false -}}
{{- range .root.Values.identity.groupPrefixes -}}
{{- if hasPrefix . $prefix -}}{{ $allowed = true }}{{- end -}}
{{- end -}}
{{- if not $allowed -}}
{{- fail (printf "%s is %q, and admission lets the receiver name groups only that begin with one of identity.groupPrefixes (%s): add it there" .name $prefix (join ", " .root.Values.identity.groupPrefixes)) -}}
{{- end -}}
{{- end }}
