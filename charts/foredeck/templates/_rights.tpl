{{/* Who gets which rights where: what the roles' manifests have in common. Each takes root and role. */}}

{{- define "foredeck.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: foredeck-{{ .role }}
  namespace: {{ quote .root.Release.Namespace }}
  labels:
    {{- include "foredeck.rights.labels" . | nindent 4 }}
{{- end }}

{{/* Of everything that says who may what. */}}
{{- define "foredeck.rights.labels" -}}
{{ include "foredeck.labels" (dict "root" .root "component" .role) }}
{{- end }}

{{/* The rights in the namespaces where foredeck works: all of them, or those that namespaces names. */}}
{{- define "foredeck.everywhere" -}}
{{- $name := printf "foredeck-%s" .role -}}
{{- if .root.Values.namespaces -}}
{{- range $index, $namespace := .root.Values.namespaces }}
{{- if $index }}
---
{{ end -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}-works
  namespace: {{ quote $namespace }}
  labels:
    {{- include "foredeck.rights.labels" $ | nindent 4 }}
{{ include "foredeck.to" (dict "root" $.root "role" $.role "kind" "ClusterRole" "name" $name) }}
{{- end }}
{{- else -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "foredeck.rights.labels" . | nindent 4 }}
{{ include "foredeck.to" (dict "root" .root "role" .role "kind" "ClusterRole" "name" $name) }}
{{- end }}
{{- end }}

{{/* The rights of the Role of the same name, in foredeck's own namespace. */}}
{{- define "foredeck.athome" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: foredeck-{{ .role }}
  namespace: {{ quote .root.Release.Namespace }}
  labels:
    {{- include "foredeck.rights.labels" . | nindent 4 }}
{{ include "foredeck.to" (dict "root" .root "role" .role "kind" "Role" "name" (printf "foredeck-%s" .role)) }}
{{- end }}

{{/* From a role in Kubernetes' sense to one in ours. */}}
{{- define "foredeck.to" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: foredeck-{{ .role }}
    namespace: {{ quote .root.Release.Namespace }}
{{- end }}

{{/* One Lease. To create can't be allowed by name, and stays: a Lease that somebody deletes has to come back. The chart makes
     none: it would be deleted with the chart while a controller may still work, and what compares a cluster with manifests
     would find it changed for ever. */}}
{{- define "foredeck.lease" -}}
# The Lease that lets one of several work: its own, and no other's.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [foredeck-{{ .role }}]
  verbs: [get, update]
# RBAC can't allow this by name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end }}
