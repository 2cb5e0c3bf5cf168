{{/* What each role is called in Kubernetes, and what each policy is. */}}

{{- define "foredeck.user" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:foredeck-{{ .role }}
{{- end }}

{{/* Not empty where the API server is to stamp who did something. */}}
{{- define "foredeck.mutates" -}}
{{- $wanted := toString .Values.admission.mutating -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or (has $wanted (list "on" "true")) (and (eq $wanted "auto") $served) -}}
yes
{{- end -}}
{{- end }}

{{- define "foredeck.validating" -}}
[foredeck-deployrequests, foredeck-deployrequests-status, foredeck-deployapprovals, foredeck-environments, foredeck-deploytargets, foredeck-deployfreezes, foredeck-deployfreezes-status, foredeck-persons, foredeck-persons-status, foredeck-status]
{{- end }}

{{- define "foredeck.mutating" -}}
[foredeck-requester, foredeck-cancel, foredeck-override, foredeck-lock, foredeck-unhold, foredeck-freeze, foredeck-approver]
{{- end }}
