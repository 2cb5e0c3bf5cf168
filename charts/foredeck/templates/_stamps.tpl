{{/* The API server itself writes who asks, cancels, approves, overrides, locks and freezes, over whatever stands there; the receiver writes it itself. */}}

{{/* One stamp: its name, resource and operations, when it applies, and what it writes. */}}
{{- define "foredeck.stamp" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata:
  name: {{ .name }}
spec:
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  {{- include "foredeck.constraints" . | nindent 2 }}
  matchConditions:
    - name: by-anybody-but-the-receiver
      expression: request.userInfo.username != {{ include "foredeck.user" (dict "root" .root "role" "receiver") | toJson }}
    - name: when
      expression: {{ .when | quote }}
  variables:
    - name: groups
      # Everybody is in the one, and a longer name doesn't fit.
      expression: "has(request.userInfo.groups) ? request.userInfo.groups.filter(group, group != 'system:authenticated' && size(group) > 0 && size(group) <= 253) : []"
  mutations:
    {{- range .patches }}
    - patchType: JSONPatch
      jsonPatch:
        expression: {{ . | quote }}
    {{- end }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
spec:
  policyName: {{ .name }}
{{- end }}

{{- define "foredeck.stamped" -}}
[JSONPatch{op: 'add', path: '/{{ replace "." "/" . }}', value: Object.{{ . }}{username: request.userInfo.username, groups: variables.groups}}]
{{- end }}

{{/* In two steps where a list holds objects: the API server of Kubernetes 1.36 panics on such a list in one value. */}}
{{- define "foredeck.policies.stamps" -}}
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-requester" "resources" (list "deployrequests") "operations" (list "CREATE")
  "when" "has(object.spec)"
  "patches" (list (include "foredeck.stamped" "spec.requester"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-cancel" "resources" (list "deployrequests") "operations" (list "CREATE" "UPDATE")
  "when" (printf "has(object.spec) && %s" (include "foredeck.sets" "cancel"))
  "patches" (list (include "foredeck.stamped" "spec.cancel.by"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-override" "resources" (list "deployrequests") "operations" (list "CREATE" "UPDATE")
  "when" (printf "has(object.spec) && %s" (include "foredeck.sets" "override"))
  "patches" (list (include "foredeck.stamped" "spec.override.by"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-lock" "resources" (list "environments" "deploytargets") "operations" (list "CREATE" "UPDATE")
  "when" (printf "has(object.spec) && %s" (include "foredeck.sets" "lock"))
  "patches" (list (include "foredeck.stamped" "spec.lock.by"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-unhold" "resources" (list "deploytargets") "operations" (list "CREATE" "UPDATE")
  "when" (printf "has(object.spec) && %s" (include "foredeck.sets" "unhold"))
  "patches" (list (include "foredeck.stamped" "spec.unhold.by"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-freeze" "resources" (list "deployfreezes") "operations" (list "CREATE" "UPDATE")
  "when" (printf "has(object.spec) && %s" (include "foredeck.writes" .))
  "patches" (list (include "foredeck.stamped" "spec.by"))) }}
---
{{ include "foredeck.stamp" (dict "root" . "name" "foredeck-approver" "resources" (list "deployapprovals") "operations" (list "CREATE")
  "when" "has(object.spec) && has(object.spec.request) && has(object.spec.request.name) && has(object.spec.request.uid)"
  "patches" (list
    (include "foredeck.stamped" "spec.approver")
    "[JSONPatch{op: 'add', path: '/metadata/ownerReferences', value: []}, JSONPatch{op: 'add', path: '/metadata/ownerReferences/-', value: Object.metadata.ownerReferences{apiVersion: 'foredeck.dev/v1alpha1', kind: 'DeployRequest', name: object.spec.request.name, uid: object.spec.request.uid}}]")) }}
{{- end }}
