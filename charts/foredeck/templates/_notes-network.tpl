{{/* What NOTES says of network policies. */}}
{{- define "foredeck.notes.network" -}}
{{- if .Values.networkPolicy.enabled -}}
Network policies close foredeck's Pods but for what each speaks to. Whether they count depends on the cluster's network
plugin. When the API server's addresses change, networkPolicy.apiServer.cidrs has to follow; this shows them:

  {{ include "foredeck.network.command" . }}
{{- else -}}
No network policy holds foredeck's Pods. networkPolicy.enabled=true closes them but for what each speaks to, and wants the
API server's own addresses and port, which this shows:

  {{ include "foredeck.network.command" . }}
{{- end -}}
{{- end }}
