{{/* All policies, as they are installed and as the controller compares them with what the API server holds. */}}
{{- define "foredeck.policies" -}}
{{ include "foredeck.policies.requests" . }}
---
{{ include "foredeck.policies.others" . }}
---
{{ include "foredeck.policies.guardrails" . }}
{{- if include "foredeck.mutates" . }}
---
{{ include "foredeck.policies.stamps" . }}
{{- end }}
{{- end }}
