{{/* Files that the roles read: policies, and secrets that somebody else keeps. Each is a folder, so that what changes there is
seen. */}}

{{/* Where a volume of that name is mounted. */}}
{{- define "foredeck.folder" -}}
{{- if has . (list "admission-policies" "vault-authorities") -}}
/etc/foredeck/{{ . }}
{{- else -}}
/var/run/secrets/foredeck.dev/{{ . }}
{{- end -}}
{{- end }}

{{- define "foredeck.volumes" -}}
{{- $values := .root.Values -}}
{{- if has "controller" .roles }}
- name: admission-policies
  configMap: {name: foredeck-admission-policies}
{{- end }}
{{- if and $values.slack.enabled (or (has "receiver" .roles) (has "relay" .roles)) }}
{{- with include "foredeck.keys" . }}
- name: slack
  secret:
    secretName: {{ $values.slack.existingSecret }}
    # No more than this role needs.
    items:
      {{- range splitList " " . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if and (has "receiver" .roles) $values.okta.url (not $values.okta.vaultToken) }}
- name: okta
  secret:
    secretName: {{ $values.okta.existingSecret }}
    items: [{key: token, path: token}]
{{- end }}
{{- if include "foredeck.vaulted" . }}
{{- with $values.secretsVault }}
{{- if eq .login "token" }}
- name: vault-token
  secret:
    secretName: {{ .existingSecret }}
    items: [{key: token, path: token}]
{{- else }}
- name: vault
  projected:
    sources:
      - serviceAccountToken: {path: token, audience: {{ quote .audience }}, expirationSeconds: 600}
{{- end }}
{{- with .caConfigMap }}
- name: vault-authorities
  configMap:
    name: {{ . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The keys of Slack's Secret that these roles read. */}}
{{- define "foredeck.keys" -}}
{{- $keys := list -}}
{{- with .root.Values.slack -}}
{{- if not .vault.botToken -}}{{ $keys = append $keys "bot-token" }}{{- end -}}
{{- if has "receiver" $.roles -}}
{{- if and (eq .transport "socket") (not .vault.appToken) -}}{{ $keys = append $keys "app-token" }}{{- end -}}
{{- if and (eq .transport "http") (not .vault.signingSecret) -}}{{ $keys = append $keys "signing-secret" }}{{- end -}}
{{- if and .oldBotToken (not .vault.oldBotToken) -}}{{ $keys = append $keys "old-bot-token" }}{{- end -}}
{{- end -}}
{{- end -}}
{{ join " " $keys }}
{{- end }}
