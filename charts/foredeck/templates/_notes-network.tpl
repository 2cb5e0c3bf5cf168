{{/* What NOTES says of network policies, where there are any. */}}
{{- define "foredeck.notes.network" -}}
{{- end }}
